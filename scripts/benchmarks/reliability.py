"""What hostile frames, damaged files, kills, lost chunks and numbers that are none do to policies and data.

    python scripts/benchmarks/reliability.py [--quick] [--only PART ...] [--out DIR] [--seed N]
    python scripts/benchmarks/reliability.py --report

Each part makes its own small policies and demonstrations from the seed, and does to them what its name says. An attempt
is refused with a reason, has no effect on any bit of the result, ends in another error, or got through: something ran,
or a wrong result looked right. Writes table.json and table.md; the
same command goes on behind the parts that are done, and does those again in which an attempt
was neither refused nor without effect. Exit code 1: there was such an attempt. --report tries nothing: it makes the
table of docs/reliability.md from the record of the published run, and exits with 1 if it was another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import torch

from isd_core.support.errors import InputError
from isd_core.support.files import read_json
from scripts.benchmarks.attacks.commands import commands
from scripts.benchmarks.attacks.damage import chunks, flips
from scripts.benchmarks.attacks.demonstrations import demonstrations
from scripts.benchmarks.attacks.frames import frames
from scripts.benchmarks.attacks.hostile import hostile
from scripts.benchmarks.attacks.kills import kills
from scripts.benchmarks.attacks.numbers import numbers
from scripts.benchmarks.attacks.tally import Tally
from scripts.support import command, pages, tables
from scripts.support.cells import cell_file, finished, run_cells

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, RECORD = DOCS / "reliability.md", DOCS / "results" / "reliability.json"

Part = Callable[[Path, int, int], list[Tally]]
PARTS: dict[str, Part] = {
    # The first three come first: their attempts are forks of this process, which has no threads yet.
    "hostile": hostile,
    "demonstrations": demonstrations,
    "commands": commands,
    "kills": kills,
    "numbers": numbers,
    "flips": flips,
    "chunks": chunks,
    "frames": frames,
}
TRIES = {
    "hostile": 10_000,
    "demonstrations": 10_000,
    "commands": 200,
    "kills": 40,
    "numbers": 1,
    "flips": 2000,
    "chunks": 2000,
    "frames": 20_000,
}
QUICK = TRIES | {
    "hostile": 150,
    "demonstrations": 60,
    "commands": 12,
    "kills": 5,
    "flips": 150,
    "chunks": 150,
    "frames": 2000,
}


@dataclass(frozen=True)
class PartCell:
    """One part of the table."""

    part: str
    tries: int
    seed: int

    @property
    def name(self) -> str:
        """The stem of its file."""
        return f"{self.part}-{self.tries}"


def attack(cell: PartCell, out: Path) -> dict[str, Any]:
    """The rows of a part, made in a folder that is removed afterwards."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = PARTS[cell.part](Path(folder), cell.tries, cell.seed)
    return {"rows": [row.to_dict() for row in rows]}


def faults(record: Mapping[str, Any]) -> int:
    """How many attempts of a part were neither refused nor without effect."""
    return sum(row["errors"] + row["got_through"] for row in record["result"]["rows"])


def run(given: argparse.Namespace) -> int:
    """Does what the flags ask for, prints the table and writes it; returns the exit code."""
    if given.report:
        return int(pages.fill(PAGE, {"all": published()}, "attempts"))
    if unknown := [part for part in given.only if part not in PARTS]:
        raise InputError(f"--only {unknown[0]}: the parts are {', '.join(PARTS)}.")
    chosen = [part for part in PARTS if part in given.only or not given.only]
    tries = QUICK if given.quick else TRIES
    cells = [PartCell(part, tries[part], given.seed) for part in chosen]
    for cell in cells:
        if (record := finished(given.out, cell)) is not None and faults(record):
            cell_file(given.out, cell).unlink()
    records = run_cells(attack, cells, given.out, 1, "reliability")
    about = command.machine()
    text = markdown(records, command.described(about))
    command.write(given.out, {"machine": about, "cells": records}, text)
    print(text)
    print(f"Written: {given.out}/table.md and table.json.")
    for record in records.values():
        for row in record["result"]["rows"]:
            for example in row["examples"]:
                print(f"{row['what']}: {example}", file=sys.stderr)
    return 1 if any(map(faults, records.values())) else 0


def published() -> str:
    """The table of the published run."""
    stored = read_json(RECORD)
    return markdown(stored["cells"], command.described(stored["machine"]))


def markdown(records: Mapping[str, Mapping[str, Any]], machine: str) -> str:
    """The table, a row for each kind of attempt."""
    header = ["what was done", "tried", "refused", "without effect", "other errors", "got through", "s"]
    body: list[list[Any]] = []
    for record in records.values():
        for number, row in enumerate(record["result"]["rows"]):
            counts = [str(row[key]) for key in ("tried", "refused", "unharmed", "errors", "got_through")]
            body.append([row["what"], *counts, "" if number else f"{record['seconds']:.0f}"])
    seeds = {record["settings"]["seed"] for record in records.values()}
    return "\n\n".join([tables.markdown(header, body), f"Seed {', '.join(map(str, seeds))}. {machine}."])


def flags() -> argparse.ArgumentParser:
    """The command line."""
    about = (__doc__ or "").split("\n\n")[0]
    result = argparse.ArgumentParser(prog="python scripts/benchmarks/reliability.py", description=about)
    result.add_argument(
        "--quick", action="store_true", help="a tenth of the attempts: at most ten minutes on two cores"
    )
    result.add_argument("--only", nargs="+", default=[], metavar="PART", help=f"of {', '.join(PARTS)}")
    result.add_argument("--out", type=Path, default=Path("runs/reliability"), help="folder of the results")
    result.add_argument("--report", action="store_true", help="try nothing; the table of the documentation")
    result.add_argument("--seed", type=int, default=0, help="of policies, demonstrations and attempts")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)


if __name__ == "__main__":
    sys.exit(main())
