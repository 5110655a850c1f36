"""Numbers with their spread, and tables in markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A mean over seeds, the standard deviation (None for one seed) and the number of seeds."""

    mean: float
    std: float | None
    n: int

    def __str__(self) -> str:
        return number(self.mean) if self.std is None else f"{number(self.mean)} ± {number(self.std)}"


def spread(values: Sequence[float | None]) -> Spread | None:
    """The spread of the values that are there; None without any."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return Spread(statistics.fmean(there), statistics.stdev(there) if len(there) > 1 else None, len(there))


def number(value: float | None) -> str:
    """Three significant digits, without a leading zero; a dash for None."""
    if value is None:
        return "-"
    if value != 0 and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.1e}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    text = f"{value:.{digits}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.4f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def cell(value: object) -> str:
    """Any value as a table's cell."""
    if value is None or isinstance(value, float):
        return number(value)
    return str(value)


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in GitHub's markdown."""
    lines = [list(header), ["---"] * len(header), *([cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
