"""A table's cells: independent pieces of work whose results are files, so that the same command goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import Field, asdict, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from isd_core.support.errors import InputError
from isd_core.support.files import read_json, write_json
from isd_core.support.progress import Progress
from scripts.support.command import machine
from scripts.support.launchers import launch


class Cell(Protocol):
    """One piece of work: a frozen dataclass of plain settings."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """The stem of its file."""
        ...


Work = Callable[[Any, Path], dict[str, Any]]


def cell_file(out: Path, cell: Cell) -> Path:
    """Where a cell's result lies."""
    return out / "cells" / f"{cell.name}.json"


def finished(out: Path, cell: Cell) -> dict[str, Any] | None:
    """A cell's record, {"settings", "result", "seconds", ...}, or None while it is not done.

    Raises `InputError` for a record of other settings; fields with compare=False do not count, they change no result.
    A field that a record lacks came later: it was made with the field's default, which is filled in.
    """
    path = cell_file(out, cell)
    if not path.exists():
        return None
    record: dict[str, Any] = read_json(path)
    compared = {field.name for field in fields(cell) if field.compare}
    wanted = {key: value for key, value in settings(cell).items() if key in compared}
    made = record["settings"] = {field.name: field.default for field in fields(cell)} | record["settings"]
    if different := sorted(key for key in wanted if made[key] != wanted[key]):
        key = different[0]
        raise InputError(
            f"{path} was made with {key}={made[key]}, this command wants {key}={wanted[key]}. Choose another --out, or "
            "remove the file to have the cell computed again."
        )
    return record


def settings(cell: Cell) -> dict[str, Any]:
    """A cell's fields as JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(cell)))
    return plain


def run_cells(
    work: Work,
    cells: Sequence[Cell],
    out: Path,
    workers: int,
    desc: str,
    launcher: str = "local",
    records: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """The records of all cells by name; those not yet done are computed by `work(cell, out)`, `workers` at a time.

    launcher: where (`scripts.support.launchers`). records: the folder that keeps the records, `out` if None. A result
    is written as soon as it is there.
    """
    kept = out if records is None else records
    todo = [cell for cell in cells if finished(kept, cell) is None]
    compute = partial(_compute, work, out.resolve(), kept.resolve())
    with Progress(len(cells), desc, "cell", initial=len(cells) - len(todo)) as bar:
        if workers == 1 and launcher == "local":
            for cell in todo:
                compute(cell)
                bar.update(1, done=cell.name)
        elif todo:
            for cell in launch(compute, todo, workers, launcher, out.resolve()):
                bar.update(1, done=cell.name)
    return existing(kept, cells)


def existing(records: Path, cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """The records of those cells that are finished, by name."""
    found = {cell.name: finished(records, cell) for cell in cells}
    return {name: record for name, record in found.items() if record is not None}


def _compute(work: Work, out: Path, records: Path, cell: Cell) -> None:
    started = time.perf_counter()
    result = work(cell, out)
    seconds = time.perf_counter() - started
    record = {"settings": settings(cell), "result": result, "seconds": seconds, **machine()}
    write_json(cell_file(records, cell), record)
