"""The time relaxation: jumps to any s < t against jumps to s = 0 alone, spread over seeds and the loss around the end.

    python scripts/experiments/time_relaxation.py [--quick] [--out DIR] [--workers N] [--seeds N] [KEY=VALUE ...]

Trains images with `isd_image.train` under either time law, by default digits on the CPU; KEY=VALUE are its overrides,
so that the full size is the same command, e.g. `data=cifar10 network=dit_b4 trainer=image --extractor inception` on a
GPU. Writes table.json, table.md and figures; the same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np

from isd_core.training import checkpoint
from scripts.experiments.images import ImageCell, check_words, run_dir, train_and_measure
from scripts.experiments.landscape import landscape
from scripts.support import command, tables
from scripts.support.cells import run_cells
from scripts.support.figures import Line, figure, legend, lines, surface
from scripts.support.tables import Spread, number, spread

LAWS = {"s < t": "times=beta_pair", "s = 0": "times=fixed_end"}
PAPER = "FID standard deviation 2.71 with s = 0, 0.59 with s < t (arXiv 2601.22679)"
QUICK = ("trainer.steps=40", "trainer.batch_size=64", "trainer.warmup=5")


@dataclass(frozen=True)
class LandscapeCell:
    """The landscape around a run's last checkpoint. run: the run's folder name."""

    run: str
    batch: int
    radius: float
    points: int

    @property
    def name(self) -> str:
        """The stem of its file."""
        return f"landscape-{self.run}"


def survey(cell: LandscapeCell, out: Path) -> dict[str, Any]:
    """The cell's landscape as plain values."""
    place = checkpoint.find(out / "runs" / cell.run)
    return asdict(landscape(place, cell.batch, cell.radius, cell.points))


def main(flags: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    words = check_words([*(QUICK if flags.quick else ()), *flags.words])
    count, points = (200, 2) if flags.quick else (flags.count, 4)
    cells = [
        ImageCell(label, seed, (*words, law), flags.extractor, count=count, points=points)
        for seed in range(flags.seeds)
        for label, law in LAWS.items()
    ]
    records = run_cells(train_and_measure, cells, flags.out, flags.workers, "training")
    shown = [cell for cell in cells if cell.seed == 0 and checkpoint.steps(run_dir(flags.out, cell)) and flags.grid]
    batch, grid = (64, 5) if flags.quick else (256, flags.grid)
    around = [LandscapeCell(cell.name, batch, flags.radius, grid) for cell in shown]
    surveys = run_cells(survey, around, flags.out, flags.workers, "landscape")
    landscapes = {cell.label: surveys[around[i].name]["result"] for i, cell in enumerate(shown)}

    about = command.machine()
    rows = [
        _row(label, [records[cell.name]["result"] for cell in cells if cell.label == label], cells[0].nfe)
        for label in LAWS
    ]
    text = _markdown(rows, landscapes, flags, cells[0], command.described(about))
    content = {"machine": about, "rows": rows, "landscapes": landscapes, "cells": records}
    command.write(flags.out, content, text)
    _draw(flags.out, records, landscapes)
    print(text)
    print(f"Written: {flags.out}/table.md, table.json and figures.")
    return 0


def _row(label: str, results: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> dict[str, Any]:
    ends = [result["curve"][-1]["nfe"] for result in results if result["diverged"] is None]
    row: dict[str, Any] = {"label": label, "seeds": len(results), "diverged": len(results) - len(ends)}
    row["floor"] = results[0]["floor"]
    for nfe in map(str, numbers):
        row[f"frechet_{nfe}"] = spread([end[nfe]["frechet"] for end in ends])
        row[f"accuracy_{nfe}"] = spread([end[nfe]["accuracy"] for end in ends])
    return row


def _markdown(
    rows: Sequence[dict[str, Any]],
    landscapes: Mapping[str, Any],
    flags: argparse.Namespace,
    cell: ImageCell,
    machine: str,
) -> str:
    columns = [key for key in rows[0] if key.startswith(("frechet", "accuracy"))]
    header = ["times", "seeds", "diverged", *(key.replace("_", ", ") + " NFE" for key in columns)]
    header += ["Hessian's two largest eigenvalues", "rise at the edge"]
    body = []
    for row in rows:
        found = landscapes.get(row["label"])
        values = [row["label"], row["seeds"], row["diverged"], *(row.get(key) or "-" for key in columns)]
        values += [", ".join(map(number, found["eigenvalues"])), number(_rise(found))] if found else ["-", "-"]
        body.append([str(value) for value in values])
    parts = [
        "# The time relaxation",
        f"`isd_image.train {' '.join(cell.words[:-1])}` under either time law, {cell.count} samples, extractor "
        f"{cell.extractor}, averaged weights; mean ± standard deviation over seeds. {machine}.",
        tables.markdown(header, body),
        f"Held-out real images against the training images: {number(rows[0]['floor'])}. The Hessian is that of the "
        f"loss as trained (targets held fixed), of seed 0; the rise is the mean over the edge of the square of radius "
        f"{flags.radius:g} in weight space, over the loss at the centre.",
        *_reading(rows, landscapes),
    ]
    return "\n\n".join(parts)


def _rise(found: Mapping[str, Any]) -> float:
    values = np.array(found["values"])
    centre = values[len(values) // 2, len(values) // 2]
    edge = np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])
    return float(edge.mean() / centre)


def _reading(rows: Sequence[dict[str, Any]], landscapes: Mapping[str, Any]) -> list[str]:
    relaxed, fixed = rows
    said = []
    for row in rows:
        if row["diverged"]:
            said.append(f"With {row['label']}, {row['diverged']} of {row['seeds']} seeds diverged.")
    one, other = relaxed.get("frechet_1"), fixed.get("frechet_1")
    if isinstance(one, Spread) and isinstance(other, Spread) and one.std and other.std:
        ratio = other.std / one.std
        held = "agrees with" if ratio > 1.5 else "is no difference, against" if ratio > 1 / 1.5 else "contradicts"
        better = "s < t" if one.mean < other.mean else "s = 0"
        said.append(
            f"At 1 NFE the standard deviation over {one.n} and {other.n} seeds is {number(other.std)} with s = 0 and "
            f"{number(one.std)} with s < t, {ratio:.2f} times, which {held} the paper ({PAPER}); a ratio of standard "
            f"deviations of so few seeds is itself uncertain. The better mean is that of {better}."
        )
    if len(landscapes) == len(rows):
        sharp = [landscapes[row["label"]]["eigenvalues"][0] for row in (fixed, relaxed)]
        said.append(f"The largest curvature is {number(sharp[0])} with s = 0 and {number(sharp[1])} with s < t.")
    return said


def _draw(out: Path, records: Mapping[str, Any], landscapes: Mapping[str, Any]) -> None:
    nfe = next(iter(records.values()))["settings"]["nfe"]
    with figure(out / "curves.png", columns=len(nfe)) as axes:
        for place, n in zip(axes, nfe, strict=True):
            runs = []
            for record in records.values():
                curve = record["result"]["curve"]
                values = [point["nfe"][str(n)]["frechet"] for point in curve]
                runs.append(Line(record["settings"]["label"], [point["step"] for point in curve], values))
            lines(place, runs, f"{n} NFE", "step", "Fréchet distance")
        legend(axes)
    if landscapes:
        with figure(out / "landscape.png", columns=len(landscapes)) as axes:
            for place, (label, found) in zip(axes, landscapes.items(), strict=True):
                surface(
                    place, found["axis"], found["axis"], np.log10(np.array(found["values"])), f"{label}: log10 loss"
                )


def flags() -> argparse.ArgumentParser:
    """The command line."""
    result = command.parser("time_relaxation", (__doc__ or "").split("\n\n")[0], "40 steps: shows only that it runs")
    result.add_argument("--seeds", type=int, default=3, help="seeds of either law")
    result.add_argument("--count", type=int, default=1000, help="samples of each measurement")
    about = "features of the distance (configs/extractor): 'cifar_resnet extractor.source=FILE'"
    result.add_argument("--extractor", default="digits", help=about)
    result.add_argument("--radius", type=float, default=1.0, help="of the landscape, in weight space")
    result.add_argument("--grid", type=int, default=15, help="points of the landscape along each axis; 0: none")
    result.add_argument("words", nargs="*", metavar="KEY=VALUE", help="overrides of isd_image.train")
    return result


if __name__ == "__main__":
    sys.exit(command.run(main, flags()))
