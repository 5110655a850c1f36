"""A run of the control loop as one HTML page: latencies against the deadline, the chunks in time, what happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from os import PathLike
from typing import Any

from isd_core.support.charts import WIDTH, histogram, line, linear_ticks, svg, text
from isd_core.support.files import atomic_write
from isd_core.support.page import chart, figure, number_table, page, section, table

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
    loop = content["loop"]
    title = f"{content['task'].capitalize()}: {content['nfe']} NFE in a {content['rate']:g} Hz control loop"
    lead = (
        f"{'Synchronous' if loop['mode'] == 'sync' else 'Asynchronous'} loop, chunks blended over {loop['blend']} "
        f"actions; {content['warm_up']['calls']} calls of warm-up before the clock was armed, whose tail had "
        f"{'settled' if content['warm_up']['settled'] else 'NOT settled'}."
    )
    sections = [
        section("Policy latency", _latency(content)),
        section("Chunks in time", _timeline(content), wide=True),
        section("Where a tick's time went", _parts(content)),
        section("Counts", table({key.replace("_", " "): content[key] for key in COUNTS})),
        section("What happened", _events(content)),
        section("LoopSettings", table({key.replace("_", " "): value for key, value in loop.items()})),
    ]
    return page(title, lead, _figures(content), sections, _footer(content))


def _figures(content: Mapping[str, Any]) -> Iterable[str]:
    latency = content["latency_ms"]
    if latency is not None:
        yield figure(f"{latency['p99']:.1f} ms", f"99th percentile of a policy call; median {latency['p50']:.1f} ms")
    yield figure(f"{content['deadline_misses']}", f"deadlines missed of {content['ticks']}")
    yield figure(f"{content['starved_ticks']}", "ticks without an action from the policy")
    yield figure("stopped" if content["fault"] else "no fault", content["fault"] or "the robot was never stopped")


def _latency(content: Mapping[str, Any]) -> str:
    calls = content["policy_calls_ms"]
    if not calls:
        return "<p>The policy gave no chunk.</p>"
    return chart(
        histogram(calls, deadline=1000 / content["rate"]),
        f"The last {len(calls)} calls; the deadline is the period of the loop. A call may take longer: it runs beside "
        "the loop.",
    )


def _timeline(content: Mapping[str, Any]) -> str:
    chunks = [chunk for chunk in content["chunks"] if chunk["outcome"] != "waiting"][-SHOWN:]
    if not chunks:
        return "<p>No chunk was asked for.</p>"
    return chart(
        timeline(chunks),
        f"The last {len(chunks)} chunks, one a row: from the request to its arrival (line), then the time in which its "
        "actions were given to the robot (bar). Beside it: actions used, and dropped because their steps had passed "
        "when it came. A line without a bar was not used, for the reason that stands there.",
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


def _parts(content: Mapping[str, Any]) -> str:
    rows = {name: content[key] for key, name in PARTS.items() if content[key] is not None}
    cells = {name: [f"{value[key]:.2f}" for key in PERCENTILES] for name, value in rows.items()}
    return "<p>Milliseconds, over the last " + f"{content['window']} at most.</p>" + number_table(PERCENTILES, cells)


def _events(content: Mapping[str, Any]) -> str:
    if not content["events"]:
        return "<p>Nothing out of the ordinary.</p>"
    items = "".join(
        f'<tr><th scope="row">{event["seconds"]:.2f} s</th><td>{escape(event["event"])}</td></tr>'
        for event in content["events"]
    )
    return f"<table>{items}</table>"


def _footer(content: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return escape(f"{content['checkpoint']['path']}, step {content['checkpoint']['step']}; {versions}.")
