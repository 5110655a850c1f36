"""The scale of guidance in training, and what guidance at sampling adds on top of the best.

    python scripts/experiments/guidance_scale.py [--quick] [--out DIR] [--workers N] [--omega W,W] [KEY=VALUE ...]

Trains class-conditional images with `isd_image.train` at each omega of Pre-CFG, by default digits on the CPU, and
measures them over training; then applies Post-CFG to the best. KEY=VALUE are overrides of `isd_image.train`, so that
the full size is the same command. Writes table.json, table.md and a figure; the same command goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: imports start at the repository
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from isd_core.support.errors import InputError
from isd_core.training import checkpoint
from scripts.experiments.images import ImageCell, Meter, check_words, run_dir, train_and_measure
from scripts.support import command, tables
from scripts.support.cells import run_cells
from scripts.support.figures import Line, figure, legend, lines
from scripts.support.tables import number, spread

OMEGA = (1.5, 3.0, 5.0, 7.0)
POST = (1.0, 1.5, 2.0, 3.0)
QUICK = ("trainer.steps=40", "trainer.batch_size=64", "trainer.warmup=5")


@dataclass(frozen=True)
class PostCell:
    """Post-CFG on a run's last checkpoint. run: the run's folder name."""

    run: str
    extractor: str
    nfe: tuple[int, ...]
    count: int

    @property
    def name(self) -> str:
        """The stem of its file."""
        return f"post-{self.run}"


def guide(cell: PostCell, out: Path) -> dict[str, Any]:
    """{scale: {nfe: measures}} for each scale of `POST`."""
    place = checkpoint.find(out / "runs" / cell.run)
    meter = Meter(checkpoint.load(place).config, cell.extractor, cell.count)
    return {f"{scale:g}": {str(nfe): meter(place, nfe, scale) for nfe in cell.nfe} for scale in POST}


def main(flags: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    if min(flags.omega) <= 0:
        raise InputError(f"--omega {min(flags.omega)}: scales of guidance are positive; 1 is none.")
    words = check_words([*(QUICK if flags.quick else ()), *flags.words])
    omegas = flags.omega[:2] if flags.quick else flags.omega
    count, points = (200, 2) if flags.quick else (flags.count, 8)
    cells = [
        ImageCell(
            f"omega {omega:g}",
            seed,
            (*words, "guidance=pre", f"guidance.omega={omega}"),
            flags.extractor,
            count=count,
            points=points,
        )
        for seed in range(1 if flags.quick else flags.seeds)
        for omega in omegas
    ]
    records = run_cells(train_and_measure, cells, flags.out, flags.workers, "training")
    first = [cell for cell in cells if cell.seed == 0 and records[cell.name]["result"]["diverged"] is None]
    if not first:
        raise InputError("Every training diverged: choose smaller --omega.")
    best = min(first, key=lambda cell: _last(records[cell.name], cell)["frechet"])
    post = PostCell(run_dir(flags.out, best).name, best.extractor, best.nfe, best.count)
    guided = run_cells(guide, [post], flags.out, 1, "guidance at sampling")[post.name]["result"]

    about = command.machine()
    text = _markdown(cells, records, best, guided, command.described(about))
    command.write(flags.out, {"machine": about, "cells": records, "best": best.label, "post": guided}, text)
    _draw(flags.out, records)
    print(text)
    print(f"Written: {flags.out}/table.md, table.json and curves.png.")
    return 0


def _last(record: Mapping[str, Any], cell: ImageCell) -> Mapping[str, Any]:
    """The last measures at the fewest evaluations."""
    measures: Mapping[str, Any] = record["result"]["curve"][-1]["nfe"][str(cell.nfe[0])]
    return measures


def _markdown(
    cells: Sequence[ImageCell], records: Mapping[str, Any], best: ImageCell, guided: Mapping[str, Any], machine: str
) -> str:
    names = [f"{kind}, {nfe} NFE" for nfe in best.nfe for kind in ("Fréchet", "accuracy")]
    body = []
    for label in dict.fromkeys(cell.label for cell in cells):
        results = [records[cell.name]["result"] for cell in cells if cell.label == label]
        ends = [result["curve"][-1]["nfe"] for result in results if result["diverged"] is None]
        values = [spread([end[str(nfe)][kind] for end in ends]) for nfe in best.nfe for kind in ("frechet", "accuracy")]
        body.append([label, len(results), len(results) - len(ends), *(str(value or "-") for value in values)])
    post = [
        [f"{best.label}, Post-CFG {scale}", *(at[str(n)][kind] for n in best.nfe for kind in ("frechet", "accuracy"))]
        for scale, at in guided.items()
    ]
    floor = next(iter(records.values()))["result"]["floor"]
    return "\n\n".join(
        [
            "# Guidance",
            f"`isd_image.train {' '.join(cells[0].words[:-1])}`, {best.count} samples, extractor {best.extractor}, "
            f"averaged weights. {machine}. Held-out real images against the training images: {number(floor)}.",
            tables.markdown(["training", "seeds", "diverged", *names], body),
            "Guidance at sampling on top of the best (two passes a step; 1 is none):",
            tables.markdown(["sampling", *names], post),
            *_reading(best, guided),
        ]
    )


def _reading(best: ImageCell, guided: Mapping[str, Any]) -> list[str]:
    said = []
    for nfe in best.nfe:
        values = {scale: at[str(nfe)]["frechet"] for scale, at in guided.items() if at[str(nfe)]["frechet"] is not None}
        if "1" not in values:
            continue
        helped = {scale: value for scale, value in values.items() if value < values["1"]}
        if helped:
            scale = min(helped, key=lambda key: helped[key])
            said.append(
                f"At {nfe} NFE Post-CFG {scale} lowers the distance from {number(values['1'])} to "
                f"{number(helped[scale])}: the claim that it must not help on top of Pre-CFG is not borne out here."
            )
        else:
            said.append(
                f"At {nfe} NFE Post-CFG never helps (the distance rises from {number(values['1'])} to "
                f"{number(max(values.values()))}), as expected on top of Pre-CFG."
            )
    return said


def _draw(out: Path, records: Mapping[str, Any]) -> None:
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


def flags() -> argparse.ArgumentParser:
    """The command line."""
    result = command.parser(
        "guidance_scale", (__doc__ or "").split("\n\n")[0], "two scales, 40 steps: only that it runs"
    )
    result.add_argument("--omega", type=command.numbers, default=OMEGA, help="scales of Pre-CFG, such as 1.5,3,5,7")
    result.add_argument("--seeds", type=int, default=1, help="seeds of each scale")
    result.add_argument("--count", type=int, default=1000, help="samples of each measurement")
    about = "features of the distance (configs/extractor): 'cifar_resnet extractor.source=FILE'"
    result.add_argument("--extractor", default="digits", help=about)
    result.add_argument("words", nargs="*", metavar="KEY=VALUE", help="overrides of isd_image.train")
    return result


if __name__ == "__main__":
    sys.exit(command.run(main, flags()))
