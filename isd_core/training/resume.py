"""What may change when a run is resumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.training import checkpoint

STEPS = "trainer.steps"
RESUMABLE = (
    "run_dir",
    "logger",
    STEPS,
    "trainer.accumulate",
    "trainer.device",
    "trainer.data_on_device",
    "trainer.compile",
    "trainer.shard",
    "trainer.log_every",
    "trainer.diagnose_every",
    "trainer.checkpoint_every",
    "trainer.keep_checkpoints",
    "trainer.max_skipped",
)

CONTENT = "content"
"""The part of a config that says what the data was; a run that does not say, such as a converted one, takes any."""


def check_same_run(
    saved: checkpoint.Checkpoint, config: Mapping[str, Any], run_dir: Path, resumable: Collection[str] = ()
) -> None:
    """Raises `InputError` when `config` differs from the saved run's in a field that may not change on resume.

    resumable: the fields that may, beside the trainer's own `RESUMABLE`.
    """
    old, new = _flatten(saved.config), _flatten(config)
    for key in sorted(old.keys() | new.keys()):
        if any(key == free or key.startswith(f"{free}.") for free in (*RESUMABLE, *resumable)):
            continue
        if key.partition(".")[0] == CONTENT:
            if key in old and old[key] != new.get(key):
                raise InputError(
                    f"{run_dir} was trained on other data: there {key} is {_short(old[key])}, here it is "
                    f"{_short(new.get(key))}. Resume it with the same data (its place may change), or choose another "
                    "run_dir."
                )
            continue
        if old.get(key) != new.get(key):
            if key.endswith(".steps") and (old[key], new.get(key)) == (old[STEPS], new[STEPS]):
                raise InputError(
                    f"{run_dir} holds a run of {STEPS}={old[STEPS]}, this command says {new[STEPS]}. A curriculum "
                    f"({key}) follows the length of the run, so it cannot change. Resume it with {STEPS}={old[STEPS]}, "
                    "or choose another run_dir."
                )
            raise InputError(
                f"{run_dir} holds a run with {key}={old.get(key)}, this command says {key}={new.get(key)}. Resume it "
                "with the same values, or choose another run_dir."
            )


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
