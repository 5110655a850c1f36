"""The figures of the two-dimensional experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from scripts.experiments.toy_cells import DATA, ToyCell, build, weights_file
from scripts.support.figures import Line, figure, legend, lines

Records = Mapping[str, Mapping[str, Any]]
SHOWN = 2000
COLUMNS = 8


def draw(out: Path, records: Records) -> None:
    """`curves_<data>.png`, `quality_<data>.png` and `samples_<data>.png` for each data set in the records."""
    for data in DATA:
        chosen = [record for record in records.values() if record["settings"]["data"] == data]
        if chosen:
            _curves(out / f"curves_{data}.png", chosen)
            _quality(out / f"quality_{data}.png", chosen)
            _samples(out / f"samples_{data}.png", out, chosen)


def _line(record: Mapping[str, Any], *keys: str) -> Line:
    curve = record["result"]["curve"]
    values = []
    for point in curve:
        value: Any = point
        for key in keys:
            value = value[key]
        values.append(value)
    return Line(record["settings"]["label"], [point["passes"] for point in curve], values)


def _curves(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    panels = (
        ("L_ED, s < t", ("residual",)),
        ("L_ED, s = 0", ("residual_end",)),
        ("gradient norm", ("grad_norm",)),
        ("energy distance, 1 NFE", ("energy", "1")),
        ("energy distance, 8 NFE", ("energy", "8")),
        ("share far from every mode, 8 NFE", ("far", "8")),
    )
    with figure(path, columns=3, rows=2) as axes:
        for place, (title, keys) in zip(axes, panels, strict=True):
            lines(place, [_line(record, *keys) for record in records], title, "forward passes", "")
        legend(axes)


def _quality(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    with figure(path, columns=2) as axes:
        for place, nfe in zip(axes, ("1", "8"), strict=True):
            runs = []
            for record in records:
                line = _line(record, "energy", nfe)
                residuals = [point["residual"] for point in record["result"]["curve"]]
                kept = [(x, y) for x, y in zip(residuals, line.y, strict=True) if x is not None and x > 0]
                runs.append(Line(line.label, [x for x, _ in kept], [y for _, y in kept]))
            lines(place, runs, f"is L_ED a proxy? {nfe} NFE", "L_ED, s < t", "energy distance")
            place.set_xscale("log")
        legend(axes)


@torch.no_grad()
def _samples(path: Path, out: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Samples at 1 and 8 NFE of the first seed of each method."""
    first = {record["settings"]["label"]: record for record in reversed(records)}
    chosen = [record for label, record in reversed(first.items()) if record["result"]["diverged"] is None]
    chosen = [record for record in chosen if weights_file(out, _cell(record).name).exists()]
    if not chosen:
        return
    columns = min(len(chosen), COLUMNS)
    with figure(path, columns=columns, rows=2 * math.ceil(len(chosen) / columns), size=(2.4, 2.5)) as axes:
        for place in axes:
            place.set_axis_off()
        for i, record in enumerate(chosen):
            cell = _cell(record)
            setup = build(cell, record["result"]["steps"], out)
            setup.net.load_state_dict(load_file(weights_file(out, cell.name)))
            noise = torch.randn(SHOWN, 2, generator=torch.Generator().manual_seed(5))
            for row, nfe in enumerate((1, 8)):
                if not setup.sampler.can_make(nfe):
                    continue
                x = setup.sampler(setup.net, noise, nfe, {})
                place = axes[(2 * (i // columns) + row) * columns + i % columns]
                place.plot(*x.T.tolist(), ".", markersize=1)
                place.set(xlim=(-2.3, 2.3), ylim=(-2.3, 2.3), aspect="equal")
                place.set_title(f"{cell.label}, {nfe} NFE", fontsize=7)


def _cell(record: Mapping[str, Any]) -> ToyCell:
    fields = dict(record["settings"])
    return ToyCell(**fields | {"overrides": tuple(fields["overrides"])})
