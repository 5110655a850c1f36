"""A run of the control loop as one HTML page: latencies against the deadline, the chunks in time, what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from isd_core.support import page
from isd_core.support.charts import WIDTH, histogram, line, linear_ticks, svg, text
from isd_core.support.files import atomic_write

TEMPLATE = Path(__file__).with_name("page.html.jinja")
PERCENTILES = ("p50", "p95", "p99", "max")
PARTS = {
    "latency_ms": "policy call",
    "preprocess_ms": "  of which preparing",
    "infer_ms": "  of which the network",
    "postprocess_ms": "checking and merging",
    "observe_ms": "reading the robot",
    "robot_ms": "reading and writing the robot",
    "tick_ms": "whole tick",
    "late_ms": "begin of a tick after its deadline",
    "jitter_ms": "time between writes, off the period",
}
COUNTS = (
    "ticks", "deadline_misses", "skipped_ticks", "clock_steps", "episodes", "resets", "policy_calls", "reserve_ticks",
    "starved_ticks", "stale_chunks", "discarded_by_reset", "superseded_requests", "failed_calls", "rejected_chunks",
    "clipped_actions", "slowed_actions", "boxed_actions", "refused_observations",
)  # fmt: skip
SHOWN = 40
"""Chunks that the timeline shows, the last ones."""


def write(path: str | PathLike[str], content: Mapping[str, Any]) -> None:
    """Writes the page of a run's result file."""
    with atomic_write(path) as temporary:
        temporary.write_text(render(content))


def render(content: Mapping[str, Any]) -> str:
    """The page of a run's result file (`isd_policy.run out=`)."""
    chunks = [chunk for chunk in content["chunks"] if chunk["outcome"] != "waiting"][-SHOWN:]
    timed = {name: content[key] for key, name in PARTS.items() if content[key] is not None}
    return page.render(
        TEMPLATE,
        run=content,
        calls=histogram(content["policy_calls_ms"], deadline=1000 / content["rate"])
        if content["policy_calls_ms"]
        else None,
        chunks=timeline(chunks) if chunks else None,
        shown=len(chunks),
        percentiles=PERCENTILES,
        parts={name: [f"{value[key]:.2f}" for key in PERCENTILES] for name, value in timed.items()},
        counts={key: content[key] for key in COUNTS},
    )


def timeline(chunks: Sequence[Mapping[str, Any]]) -> str:
    """Rows of chunks over time, in seconds."""
    row, top, left, right = 15, 6, 2, WIDTH - 92
    begin = chunks[0]["requested"]
    moments = [chunk[key] for chunk in chunks for key in ("requested", "arrived", "last") if chunk[key] is not None]
    span = (max(moments) - begin) or 1.0
    height = top + row * len(chunks)

    def place(moment: float) -> float:
        return left + (right - left) * (moment - begin) / span

    parts = []
    for tick in linear_ticks(0, span):
        x = place(begin + tick)
        parts += [line(x, top, x, height, "grid"), text(x, height + 14, f"{tick:g}", "tick", "middle")]
    for index, chunk in enumerate(chunks):
        y = top + row * index + row / 2
        arrived = chunk["arrived"] if chunk["arrived"] is not None else chunk["requested"]
        parts.append(line(place(chunk["requested"]), y, place(arrived), y, "whisker"))
        words = chunk["outcome"]
        if chunk["first"] is not None:
            x = place(chunk["first"])
            width = max(place(chunk["last"]) - x, 1.5)
            parts.append(f'<rect class="method" x="{x:.1f}" y="{y - 4:.1f}" width="{width:.1f}" height="8"/>')
            words = f"{chunk['used']} used, {chunk['dropped']} dropped"
        elif chunk["outcome"] == "used":
            words = "replaced before use"
        parts.append(text(right + 6, y + 4, words, "tick"))
    parts.append(text(right, height + 28, "seconds", "tick", "end"))
    used, dropped = (sum(chunk[key] for chunk in chunks) for key in ("used", "dropped"))
    return svg(height + 32, f"{len(chunks)} chunks: {used} actions used, {dropped} dropped as too late", parts)
