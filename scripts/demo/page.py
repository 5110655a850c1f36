"""The demo's page: one HTML file with everything inside, for any width, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from isd_core.support.charts import Bar, Curve, curves, histogram, split, success_bars
from isd_core.support.page import chart, data_uri, figure, number_table, page, section, table
from scripts.demo.results import Results, rate_text

LATENCIES = ("p50", "p95", "p99", "max")
TERMS = {"flow": "flow matching", "residual": "self-distillation"}
NO_TERMS = {"step", "lr", "seconds", "loss", "grad_norm"}


def render(results: Results, written: str) -> str:
    """The page. `written` is the date that stands in its last line."""
    numbers = results.numbers
    title = f"{numbers['task'].capitalize()}: improved self-distillation, from scratch"
    sections = [
        section("Success on unseen starts", _success(numbers)),
        section("Training", _training(results)),
        section("Policy latency in the control loop", _latency(results)),
        section("Where the time went", _time(results)),
        section("A rollout", _rollout(results), wide=True),
        section("Protocol", table(_flat(numbers["protocol"]))),
        section("Made with", table(_made_with(numbers))),
    ]
    return page(
        title,
        _lead(numbers),
        _figures(numbers),
        sections,
        f"Written on {escape(written)}. The same numbers: <code>report.json</code>.",
    )


def _lead(numbers: dict[str, Any]) -> str:
    settings = numbers["settings"]
    return (
        f"A 1-D U-Net learns a flow map from {settings['demonstrations']} scripted demonstrations and acts with one, "
        "two or four network evaluations (NFE). Everything ran on this machine's processor, with seed "
        f"{numbers['seed']}."
    )


def _figures(numbers: dict[str, Any]) -> Iterable[str]:
    nfe, first = next(iter(numbers["success"].items()))
    latency, loop = numbers["latency_ms"], numbers["control_loop"]
    minutes, seconds = divmod(round(numbers["total_seconds"]), 60)
    yield figure(f"{100 * first['rate']:.0f} %", f"success at {nfe} NFE: {rate_text(first)}")
    yield figure(f"{latency['p99']:.1f} ms", f"99th percentile of a policy call; median {latency['p50']:.1f} ms")
    yield figure(f"{numbers['deadline_misses']}", f"deadlines missed of {loop['ticks']} at {loop['rate']:g} Hz")
    yield figure(f"{minutes}:{seconds:02d}", "minutes from nothing to this page, without the installation")


def _success(numbers: dict[str, Any]) -> str:
    bars = [_bar(f"iSD, {nfe} NFE", entry, "method") for nfe, entry in numbers["success"].items()]
    bars += [
        _bar(f"Regression, {nfe} NFE", entry, "baseline") for nfe, entry in numbers["regression"]["success"].items()
    ]
    caption = (
        "Bars: share of starts that end in success. Whiskers: 95 % Wilson intervals. Regression is the same network, "
    )
    caption += f"data, steps and batch with a squared error. At 1 NFE, start by start: {numbers['comparison']}."
    return chart(success_bars(bars), caption)


def _bar(label: str, entry: dict[str, Any], kind: str) -> Bar:
    return Bar(label, entry["rate"], entry["low"], entry["high"], rate_text(entry), kind)


def _training(results: Results) -> str:
    records = results.logs.get("isd", [])
    lines = [
        Curve(TERMS.get(term, term), [(r["step"], r[term]) for r in records if term in r], kind)
        for term, kind in zip(_terms(records), ("method", "second"), strict=False)
    ]
    baseline = results.logs.get("regression", [])
    lines.append(Curve("regression", [(r["step"], r["loss"]) for r in baseline if "loss" in r], "baseline"))
    lines = [line for line in lines if line.points]
    if not lines:
        return "<p>The training logs hold no losses.</p>"
    return chart(
        curves(lines, "optimiser step"),
        "Mean loss between two log lines. The two terms of iSD regress different targets, so their levels are not to "
        "be compared with each other or with regression.",
    )


def _terms(records: Sequence[dict[str, Any]]) -> list[str]:
    """The loss's terms in a log, flow matching first; the loss itself where it has none."""
    found = [key for key in (records[0] if records else {}) if key not in NO_TERMS]
    return sorted(found, key=lambda term: (term != "flow", term)) or ["loss"]


def _latency(results: Results) -> str:
    numbers = results.numbers
    loop = numbers["control_loop"]
    rows = {
        "policy call": numbers["latency_ms"],
        "robot and simulator": loop["robot_ms"],
        "whole tick": loop["tick_ms"],
    }
    cells = {label: [f"{row[key]:.1f}" for key in LATENCIES] for label, row in rows.items() if row}
    caption = (
        f"{len(results.latencies)} policy calls at {loop['nfe']} NFE in {loop['simulated_seconds']:g} s of robot time; "
        f"{numbers['deadline_misses']} of {loop['ticks']} ticks missed their deadline. "
        f"Episodes: {loop['episodes']}; successes: {loop['successes']}; resets happen with the loop disarmed. "
        "Milliseconds:"
    )
    calls = histogram(results.latencies, deadline=1000 / loop["rate"])
    return chart(calls, caption) + number_table(LATENCIES, cells)


def _time(results: Results) -> str:
    seconds = results.numbers["seconds"]
    total = results.numbers["total_seconds"]
    rows = "".join(
        f'<tr><th scope="row">{escape(results.titles.get(name, name))}</th><td class="number">{value:.1f} s</td>'
        f'<td class="number">{100 * value / (total or 1):.0f} %</td></tr>'
        for name, value in seconds.items()
    )
    again = [results.titles.get(name, name) for name, count in results.numbers["attempts"].items() if count > 1]
    note = f" Interrupted and continued: {', '.join(again)}." if again else ""
    rows += f'<tr class="sum"><th scope="row">All</th><td class="number">{total:.1f} s</td><td></td></tr>'
    parts = [(results.titles.get(name, name), value) for name, value in seconds.items()]
    return chart(split(parts), f"Seconds of each step, over all its attempts.{note}") + f"<table>{rows}</table>"


def _rollout(results: Results) -> str:
    pictures = []
    if results.film:
        pictures.append(f'<img src="{data_uri(results.film, "gif")}" alt="Animation of one rollout"/>')
    if results.strip:
        pictures.append(f'<img src="{data_uri(results.strip, "png")}" alt="Frames of the same rollout, in order"/>')
    if not pictures:
        return f"<p>There is no picture: {escape(results.no_film or 'none was made')}</p>"
    return (
        f'<figure class="rollout">{"".join(pictures)}</figure>'
        "<figcaption>The policy at 1 NFE from the first start of the evaluation.</figcaption>"
    )


def _made_with(numbers: dict[str, Any]) -> dict[str, Any]:
    revision = {"revision": numbers["git"]} if numbers.get("git") else {}
    return _flat(numbers["machine"]) | _flat(numbers["versions"]) | revision


def _flat(values: dict[str, Any]) -> dict[str, str]:
    return {key.replace("_", " "): str(value) for key, value in values.items()}
