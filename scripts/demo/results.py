"""What a demo left in its folder, read into the numbers of report.json and the material of report.html."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.files import read_json
from isd_core.support.machine import machine
from isd_core.training import checkpoint
from isd_core.training.loggers import LOG, read_log
from isd_envs.rollouts.statistics import mcnemar
from scripts.demo.stages import Ledger

SETTINGS = "settings.json"
LEDGER = "stages.json"
FILM, STRIP, NO_FILM = "rollout.gif", "rollout.png", "rollout.txt"
DEMONSTRATIONS = "demonstrations"
LOOP_KEYS = (
    "rate", "ticks", "simulated_seconds", "nfe", "episodes", "successes", "resets", "reset_seconds", "skipped_ticks",
    "clipped_actions", "rejected_chunks", "robot_ms", "tick_ms", "late_ms",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """All that the page shows. `numbers` is the content of report.json; the rest is too long for it."""

    numbers: dict[str, Any]
    titles: dict[str, str] = field(default_factory=dict)
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    film: bytes | None = None
    strip: bytes | None = None
    no_film: str = ""


def collect(folder: Path) -> Results:
    """Reads the demo's folder. Raises `InputError` if a number of report.json cannot be had."""
    settings = read_json(folder / SETTINGS)
    ledger = Ledger(folder / LEDGER)
    method, baseline, loop = (read_json(folder / f"{name}.json") for name in ("eval", "regression_eval", "loop"))
    seconds = {name: round(entry["seconds"], 2) for name, entry in ledger.entries.items()}
    try:
        numbers = {
            "task": settings["task"],
            "seed": settings["seed"],
            "success": method["success"],
            "regression": {"success": baseline["success"]},
            "comparison": compare(method, baseline),
            "demo_seconds": seconds[DEMONSTRATIONS],
            "train_seconds": seconds["isd"],
            "total_seconds": round(ledger.seconds(), 2),
            "seconds": seconds,
            "attempts": {name: entry["attempts"] for name, entry in ledger.entries.items()},
            "latency_ms": {key: loop["latency_ms"][key] for key in ("p50", "p95", "p99", "max")},
            "deadline_misses": loop["deadline_misses"],
            "control_loop": {key: loop[key] for key in LOOP_KEYS},
            "protocol": protocol(settings, method),
            "settings": settings,
            "machine": machine(),
            "versions": method["versions"],
            "git": checkpoint.load(folder / "policy").meta["git"],
        }
    except KeyError as error:
        raise InputError(
            f"{folder} lacks the number {error} for its report: a file there was written by another version. "
            "Run bash scripts/demo.sh --fresh."
        ) from error
    logs = {name: read_log(folder / run / LOG) for name, run in (("isd", "policy"), ("regression", "regression"))}
    return Results(
        numbers=numbers,
        titles={name: entry.get("title", name) for name, entry in ledger.entries.items()},
        logs=logs,
        latencies=list(loop["policy_calls_ms"]),
        film=_bytes(folder / FILM),
        strip=_bytes(folder / STRIP),
        no_film=(folder / NO_FILM).read_text().strip() if (folder / NO_FILM).exists() else "",
    )


def outcomes(evaluation: dict[str, Any], nfe: str) -> list[bool]:
    """Success or failure from each start, in the order of the starts."""
    return [episode["success"] for episode in evaluation["results"][nfe]["episodes"]]


def compare(method: dict[str, Any], baseline: dict[str, Any]) -> str:
    """One sentence on iSD at 1 NFE against regression, start by start."""
    return mcnemar(outcomes(method, "1"), outcomes(baseline, "1")).verdict()


def protocol(settings: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """What has to stand beside a success rate."""
    used = evaluation["protocol"]
    environment = used["environment"]
    return {
        "starts": f"{settings['episodes']}, drawn from seed {evaluation['seed']} for evaluation alone",
        "cap": f"{used['max_steps']} control steps; success at any step ends the episode",
        "initial noise": used["initial_noise"],
        "weights": f"{used['weights']}, last checkpoint",
        "horizons": ", ".join(f"{key} {value}" for key, value in used["horizons"].items()),
        "engine": f"{environment['engine']}, {environment['mode']}",
        "policy batch": used["batch_size"],
        "demonstrations": f"{settings['demonstrations']} of the scripted expert",
        "training": f"{settings['steps']} steps of {settings['batch_size']}, for iSD and for regression",
        "network": settings["network"],
    }


def rate_text(entry: dict[str, Any]) -> str:
    """`97 of 100 (91.5-99.0)` from one entry of a success map."""
    return f"{entry['successes']} of {entry['episodes']} ({100 * entry['low']:.1f}-{100 * entry['high']:.1f})"


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
