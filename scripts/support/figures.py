"""Figures as PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("The experiments draw with matplotlib: pip install '.[plots]'") from error

from isd_core.support.files import atomic_write

SIZE = (4.6, 3.4)
MADE_OF = "Made-Of"
STYLES = ("-", "--", ":")


@dataclass(frozen=True)
class Line:
    """Points of one run; runs of the same label share a colour and an entry of the legend."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]


@contextmanager
def figure(
    path: Path, columns: int = 1, rows: int = 1, size: tuple[float, float] = SIZE, made_of: str = ""
) -> Iterator[list[Axes]]:
    """Axes to draw on, row by row; written to `path` when the block ends.

    made_of: a digest of what is drawn, kept in the file; pictures of the same numbers differ between machines.
    """
    with mpl.rc_context({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3, "lines.linewidth": 1.1}):
        drawn = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained", dpi=130)
        yield list(np.ravel(drawn.subplots(rows, columns, squeeze=False)))
        with atomic_write(path) as temporary:
            drawn.savefig(temporary, format="png", metadata={MADE_OF: made_of} if made_of else None)


def made_of(path: Path) -> str | None:
    """The digest that `figure` left in a file; None where there is no such file."""
    from PIL import Image

    if not path.exists():
        return None
    with Image.open(path) as picture:
        return picture.info.get(MADE_OF)


def lines(axes: Axes, runs: Sequence[Line], title: str, x: str, y: str, log: bool = True) -> None:
    """Draws the runs; values that are absent, and with a log axis those that are not positive, are left out."""
    labels = list(dict.fromkeys(run.label for run in runs))
    for run in runs:
        points = [(a, b) for a, b in zip(run.x, run.y, strict=True) if b is not None and (b > 0 or not log)]
        if points:
            i = labels.index(run.label)
            colour, style = mpl.colormaps["tab10"](i % 10), STYLES[i // 10 % len(STYLES)]
            axes.plot(*zip(*points, strict=True), style, color=colour, label=run.label, marker=".", markersize=3)
    axes.set(title=title, xlabel=x, ylabel=y)
    if log:
        axes.set_yscale("log")


def legend(axes: Sequence[Axes]) -> None:
    """One legend for all axes, below them."""
    found = {label: handle for place in axes for handle, label in zip(*place.get_legend_handles_labels(), strict=True)}
    axes[0].figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=6, fontsize=7)


def surface(axes: Axes, x: Sequence[float], y: Sequence[float], values: np.ndarray, title: str) -> None:
    """Contours of values [len(y), len(x)]."""
    filled = axes.contourf(x, y, values, levels=24, cmap="viridis")
    axes.figure.colorbar(filled, ax=axes)
    axes.plot(0, 0, "w+")
    axes.set(title=title, xlabel="along the first eigenvector", ylabel="along the second")
