"""Where the numbers of a training go."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write

LOG = "log.jsonl"
Mode = Literal["offline", "online", "disabled"]


class Logger(Protocol):
    """Takes one record of scalars at a time."""

    def log(self, record: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class JsonlLogger:
    """One JSON object a line in `run_dir/log.jsonl`. Lines from beyond the resumed `step` are dropped."""

    def __init__(self, run_dir: str | Path, step: int = 0) -> None:
        path = Path(run_dir) / LOG
        kept = [record for record in read_log(path) if record["step"] <= step] if path.exists() else []
        with atomic_write(path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
        self._file = path.open("a")

    def log(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a JSONL log; a last line that a kill cut off is left out."""
    records = []
    for line in Path(path).read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


class WandbLogger:
    """Weights & Biases beside the JSONL log; offline unless `mode` says otherwise."""

    def __init__(self, run_dir: str | Path, config: Mapping[str, Any], project: str, mode: Mode) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InputError("logger=wandb needs the package wandb: pip install wandb.") from error
        os.environ.setdefault("WANDB_SILENT", "true")
        self._run = wandb.init(
            project=project, mode=mode, dir=str(run_dir), config=dict(config), name=Path(run_dir).name, resume="allow"
        )

    def log(self, record: dict[str, Any]) -> None:
        self._run.log(record, step=record["step"])

    def close(self) -> None:
        self._run.finish()
