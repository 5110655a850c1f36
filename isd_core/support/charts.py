"""Small charts as inline SVG: they take their colours from the page, and stay readable at the width of a phone.

Every function returns one `<svg>` element. Lengths are in the units of its view box, about pixels on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH = 380


@dataclass(frozen=True)
class Bar:
    """A success rate with its interval, all in [0, 1]. `kind` names the colour: method or baseline."""

    label: str
    rate: float
    low: float
    high: float
    text: str
    kind: str = "method"


@dataclass(frozen=True)
class Curve:
    """A line through (x, y) points; y must be positive."""

    label: str
    points: Sequence[tuple[float, float]]
    kind: str = "method"


def success_bars(bars: Sequence[Bar]) -> Markup:
    """Horizontal bars from 0 to 100 %, each with its interval as a whisker and its numbers beside the label."""
    row, top, left, right = 44, 4, 2, WIDTH - 8
    height = top + row * len(bars) + 22
    scale = right - left

    parts: list[str] = []
    for tick in (0, 25, 50, 75, 100):
        x = left + scale * tick / 100
        parts.extend(line(x, top + row * k + 18, x, top + row * k + 36, "grid") for k in range(len(bars)))
        anchor = "start" if tick == 0 else "end" if tick == 100 else "middle"
        parts.append(text(x, height - 5, f"{tick} %" if tick == 100 else str(tick), "tick", anchor))
    for index, bar in enumerate(bars):
        y = top + row * index
        x, low, high = (left + scale * value for value in (bar.rate, bar.low, bar.high))
        parts.append(text(left, y + 14, bar.label, "label"))
        parts.append(text(right, y + 14, bar.text, "value", "end"))
        parts.append(f'<rect class="{bar.kind}" x="{left}" y="{y + 20}" width="{max(x - left, 0):.1f}" height="14"/>')
        parts.append(line(low, y + 27, high, y + 27, "whisker"))
        parts.extend(line(end, y + 23, end, y + 31, "whisker") for end in (low, high))
    summary = "; ".join(f"{bar.label}: {bar.text}" for bar in bars)
    return svg(height, f"Success rates with 95 % Wilson intervals. {summary}", parts)


def curves(lines: Sequence[Curve], x_label: str) -> Markup:
    """Lines over x with a logarithmic y axis, a legend above them."""
    lines = [Curve(c.label, [(x, y) for x, y in c.points if y > 0 and math.isfinite(y)], c.kind) for c in lines]
    lines = [curve for curve in lines if curve.points]
    if not lines:
        raise ValueError("there is no finite point to draw")
    left, right, top, bottom = 40, WIDTH - 8, 26, 208
    xs = [x for curve in lines for x, _ in curve.points]
    ys = [y for curve in lines for _, y in curve.points]
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = math.log10(min(ys)), math.log10(max(ys))
    margin = max(0.06 * (y_high - y_low), 0.02)
    y_low, y_high = y_low - margin, y_high + margin

    def place(x: float, y: float) -> tuple[float, float]:
        u = (x - x_low) / (x_high - x_low or 1.0)
        v = (math.log10(y) - y_low) / (y_high - y_low)
        return left + u * (right - left), bottom - v * (bottom - top)

    parts = []
    for tick in log_ticks(10**y_low, 10**y_high):
        y = place(x_low, tick)[1]
        parts += [line(left, y, right, y, "grid"), text(left - 6, y + 4, f"{tick:g}", "tick", "end")]
    for tick in linear_ticks(x_low, x_high):
        x = place(tick, ys[0])[0]
        parts.append(text(x, bottom + 16, f"{tick:g}", "tick", "middle"))
    parts.append(text(right, bottom + 32, x_label, "tick", "end"))
    offset = float(left)
    for curve in lines:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(x, y) for x, y in thin(curve.points)))
        parts.append(f'<polyline class="line {curve.kind}" points="{path}"/>')
        parts.append(f'<rect class="{curve.kind}" x="{offset}" y="7" width="14" height="4"/>')
        parts.append(text(offset + 19, 13, curve.label, "tick"))
        offset += 32 + 6.2 * len(curve.label)
    ends = "; ".join(f"{curve.label} ends at {curve.points[-1][1]:.3g}" for curve in lines)
    return svg(bottom + 38, f"Training losses. {ends}", parts)


def histogram(values: Sequence[float], deadline: float, unit: str = "ms") -> Markup:
    """How often each value occurred, from 0 to beyond the deadline, which is marked. The count axis is logarithmic."""
    if not values:
        raise ValueError("there is no value to draw")
    left, right, top, bottom = 8, WIDTH - 8, 22, 150
    end = 1.06 * max(deadline, max(values))
    count = 60
    bins = [0] * count
    for value in values:
        bins[min(int(count * max(value, 0.0) / end), count - 1)] += 1
    scale = (bottom - top) / math.log1p(max(bins))
    width = (right - left) / count

    parts = []
    for index, number in enumerate(bins):
        if number:
            height = scale * math.log1p(number)
            late = "late" if (index + 0.5) * end / count > deadline else "method"
            parts.append(
                f'<rect class="{late}" x="{left + index * width:.1f}" y="{bottom - height:.1f}" '
                f'width="{width - 0.8:.1f}" height="{height:.1f}"/>'
            )
    x = left + (right - left) * deadline / end
    parts += [line(x, top - 6, x, bottom, "deadline"), line(left, bottom, right, bottom, "axis")]
    parts.append(text(x - 5, top + 2, f"deadline {deadline:g} {unit}", "tick", "end"))
    for tick in linear_ticks(0, end):
        parts.append(text(left + (right - left) * tick / end, bottom + 15, f"{tick:g}", "tick", "middle"))
    parts.append(text(right, bottom + 31, f"{unit} a call; heights are logarithmic", "tick", "end"))
    late_count = sum(value > deadline for value in values)
    summary = (
        f"Latency of {len(values)} calls, longest {max(values):.1f} {unit}; {late_count} beyond {deadline:g} {unit}"
    )
    return svg(bottom + 36, summary, parts)


def split(parts_of_time: Sequence[tuple[str, float]]) -> Markup:
    """One bar divided in proportion, shades from dark to light; the table beside it holds the names."""
    total = sum(seconds for _, seconds in parts_of_time) or 1.0
    x, drawn = 0.0, []
    for index, (label, seconds) in enumerate(parts_of_time):
        width = WIDTH * seconds / total
        opacity = 1 - 0.8 * index / max(len(parts_of_time) - 1, 1)
        drawn.append(
            f'<rect class="method" opacity="{opacity:.2f}" x="{x:.1f}" y="0" '
            f'width="{max(width - 1, 0.2):.1f}" height="16">'
            f"<title>{escape(label)}: {seconds:.1f} s</title></rect>"
        )
        x += width
    return svg(16, "Split of the time", drawn)


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers in [low, high], a few of them."""
    span = high - low
    if span <= 0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / about))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= about)
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in [low, high], with 2 and 5 between them where there are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(ticks) >= 3:
            return ticks
    return ticks or [low, high]


def thin(points: Sequence[tuple[float, float]], at_most: int = 300) -> list[tuple[float, float]]:
    """At most that many of the points, the last one among them."""
    step = math.ceil(len(points) / at_most)
    return [*points[:-1:step], points[-1]]


def svg(height: float, label: str, parts: Sequence[str]) -> Markup:
    """A chart of `WIDTH` by `height`; the label tells its content to those who do not see it.

    A page's template takes it as it is: the words in `parts` are escaped already (see `text`).
    """
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label, quote=True)}">'
        + "".join(parts)
        + "</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A line; `kind` is its class in the page's style."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    """A text; `kind` is its class in the page's style."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
