"""Every objective on two-dimensional data whose flow is known: what their flow maps are worth, and where claims fail.

    python scripts/experiments/toy.py [--quick | --light | --full] [--report] [--out DIR] [--workers N] [--passes N]
    python scripts/experiments/toy.py --rows "isd" "direct objective.diagonal=1" [--seeds N] --out DIR

Trains each objective at the same number of forward passes and measures L_ED against the exact marginal velocity, energy
distance and masses of the modes at 1, 2, 4 and 8 NFE, and gradient norms over training. Writes table.json, table.md and
figures; the same command goes on where it was cut off. --rows: a table of one's own, each row an objective with
overrides. Exit code 1: iSD missed one of `GATES`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from isd_core.support.cli import compose_config
from isd_core.support.errors import InputError
from scripts.experiments.toy_cells import ToyCell, train
from scripts.experiments.toy_figures import draw
from scripts.experiments.toy_report import gates, markdown, summary
from scripts.support import command
from scripts.support.cells import existing, run_cells
from scripts.support.heads import objectives, teachers_place

PASSES = {"quick": 8_000, "light": 6_000, "default": 10_000, "full": 48_000, "rows": 10_000}
SMALL: dict[str, Any] = {"batch": 1024, "lr": 2e-3, "clip": 1.0}  # the training of --quick, --light and --rows
FULL_SEEDS = 3

FROM_DATA_STD = ("parametrisation.sigma_data=1.065",)  # the EDM form is made for data of standard deviation .5
RATIO = ("times.mean=-0.344",)  # the law of ln sigma, likewise moved by ln(1.065 / .5)
SCM = ("times.data_std=1.065", "objective.warmup.share=0.15")  # the data's; a run this short needs a longer warm-up
END = "times=fixed_end"
UNIFORM_INTERMEDIATE = "objective.intermediate={type: uniform}"

MAIN = (("isd", "isd", ()), ("direct", "direct", ()), ("meanflow", "meanflow", ()))
VARIANTS = (
    ("direct, no stop-gradient", "direct", ("objective.stop_gradient=none",)),
    ("isd, s = 0", "isd", (END,)),
    ("direct, s = 0", "direct", (END,)),
    ("isd, trigonometric", "isd", ("path=trigonometric",)),
    ("direct, trigonometric", "direct", ("path=trigonometric",)),
    ("direct, spatial stop-gradient", "direct", ("objective.stop_gradient=spatial",)),
)
TUNED = {
    "scm": SCM,
    "consistency": FROM_DATA_STD,
    "ict": (*FROM_DATA_STD, *RATIO),
    "ect": (*FROM_DATA_STD, *RATIO),
}
"""Overrides without which an objective does not suit this data."""


def rest() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Every other objective that images can be trained with, and the semigroup's other choice between."""
    others = [name for name in objectives(policies=False) if name not in {objective for _, objective, _ in MAIN}]
    return (*((name, name, TUNED.get(name, ())) for name in others), ("psd, uniform", "psd", (UNIFORM_INTERMEDIATE,)))


def cells(size: str, passes: int) -> list[ToyCell]:
    """The table's cells, the most telling first; a teacher stands before its pupils."""

    def rows(table: tuple[tuple[str, str, tuple[str, ...]], ...], data: str, seed: int) -> list[ToyCell]:
        made = [ToyCell(label, objective, data, seed, passes, words) for label, objective, words in table]
        teacher = ToyCell("flow_matching", "flow_matching", data, seed, passes).name
        return [replace(cell, teacher=teacher) if teachers_place(cell.objective) else cell for cell in made]

    if size == "quick":
        return [replace(cell, **SMALL) for cell in rows(MAIN, "modes", 0)]
    if size in ("light", "default"):
        more = [cell for seed in (1, 2) for cell in rows(MAIN, "modes", seed)]
        table = [*rows(MAIN + VARIANTS, "modes", 0), *more, *rows(rest(), "modes", 0), *rows(MAIN, "ring", 0)]
        return [replace(cell, **SMALL) for cell in table] if size == "light" else table
    everything = MAIN + VARIANTS + rest()
    return [cell for data in ("modes", "ring") for seed in range(FULL_SEEDS) for cell in rows(everything, data, seed)]


def own_cells(rows: Sequence[str], seeds: int, passes: int) -> list[ToyCell]:
    """The cells of a table whose rows are given as an objective and overrides, "isd times=fixed_end", on the modes.

    Raises `InputError` for a row that is no such thing.
    """
    made = []
    for row in rows:
        objective, *words = row.split()
        if objective in objectives(policies=True) and teachers_place(objective):
            raise InputError(f"--rows {row!r}: distillation needs a teacher, which the default table trains.")
        compose_config("experiment_toy", [f"objective={objective}", "trainer.steps=1", *words])
        made += [ToyCell(row, objective, "modes", seed, passes, tuple(words), **SMALL) for seed in range(seeds)]
    return made


def main(flags: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    size = "quick" if flags.quick else "light" if flags.light else "full" if flags.full else "default"
    if flags.rows:
        size = "rows"
    passes = PASSES[size] if flags.passes is None else flags.passes
    if passes < 1 or flags.seeds < 1:
        raise InputError(f"--passes={passes} --seeds={flags.seeds}: expected numbers of at least 1.")
    wanted = own_cells(flags.rows, flags.seeds, passes) if flags.rows else cells(size, passes)
    if flags.report:
        done = existing(flags.out, wanted)
        if not done:
            raise InputError(f"--report: no cell of this table is finished in {flags.out}.")
        print(f"{len(done)} of {len(wanted)} cells are finished.")
        return conclude(done, size, flags.out)
    taught = [cell for cell in wanted if cell.teacher]
    records = run_cells(train, [cell for cell in wanted if not cell.teacher], flags.out, flags.workers, "toy")
    records |= run_cells(train, taught, flags.out, flags.workers, "distillation") if taught else {}
    return conclude(records, size, flags.out)


def conclude(records: dict[str, Any], size: str, out: Path) -> int:
    """Writes and prints the table; 1 if iSD missed a gate."""
    about = command.machine()
    table = summary(records)
    text = markdown(table, records, size, command.described(about))
    missed = gates(records) if size != "rows" else []
    command.write(out, {"size": size, "machine": about, "rows": table, "missed": missed, "cells": records}, text)
    draw(out, records)
    print(text)
    print(f"Written: {out}/table.md, table.json and figures.")
    for line in missed:
        print(f"iSD missed: {line}", file=sys.stderr)
    return 1 if missed else 0


def flags() -> argparse.ArgumentParser:
    """The command line."""
    result = command.parser("toy", (__doc__ or "").split("\n\n")[0], "iSD, direct and MeanFlow, one seed (minutes)")
    result.add_argument("--light", action="store_true", help="the default table with a third of the work")
    result.add_argument("--full", action="store_true", help="everything on both data sets with three seeds (hours)")
    result.add_argument("--rows", nargs="+", metavar="ROW", help="objectives with overrides, in quotes, instead")
    result.add_argument("--seeds", type=int, default=1, help="seeds of each of --rows")
    result.add_argument("--report", action="store_true", help="train nothing; the table of what is finished")
    result.add_argument("--passes", type=int, default=None, help=f"forward passes of each training; default {PASSES}")
    return result


if __name__ == "__main__":
    sys.exit(command.run(main, flags()))
