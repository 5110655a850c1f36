"""Where the numbers of a training go."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_core.support.registry import register, role

LOG = "log.jsonl"
Mode = Literal["offline", "online", "disabled"]


@role("logger", "loggers", given=("run_dir", "step", "config"))
class Logger(ABC):
    """Takes one record of scalars at a time."""

    @abstractmethod
    def log(self, record: dict[str, Any]) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


@register("logger", "jsonl")
class JsonlLogger(Logger):
    """One JSON object a line in `run_dir/log.jsonl`. Lines from beyond the resumed `step` are dropped."""

    def __init__(self, run_dir: str | Path, step: int = 0, config: Mapping[str, Any] | None = None) -> None:
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


@register("logger", "wandb")
class WandbLogger(Logger):
    """Weights & Biases beside the JSONL log; offline unless `mode` says otherwise."""

    def __init__(
        self, run_dir: str | Path, step: int, config: Mapping[str, Any], project: str = "isd", mode: Mode = "offline"
    ) -> None:
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
