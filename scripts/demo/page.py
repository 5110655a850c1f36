"""The demo's page: one HTML file with everything inside, for any width, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from isd_core.support import page
from isd_core.support.charts import Bar, Curve, curves, histogram, split, success_bars
from isd_core.support.page import data_uri
from isd_policy.deploy.loop.report import deadlines
from scripts.demo.results import Results, rate_text

TEMPLATE = Path(__file__).with_name("page.html.jinja")
LATENCIES = ("p50", "p95", "p99", "max")
TERMS = {"flow": "flow matching", "residual": "self-distillation"}
NO_TERMS = {"step", "lr", "seconds", "loss", "grad_norm"}


def render(results: Results, written: str) -> str:
    """The page. `written` is the date that stands in its last line."""
    numbers = results.numbers
    loop, latencies = numbers["control_loop"], results.latencies
    first_nfe, first = next(iter(numbers["success"].items()))
    times = [(results.titles.get(name, name), seconds) for name, seconds in numbers["seconds"].items()]
    parts = {
        "policy call": numbers["latency_ms"],
        "robot and simulator": loop["robot_ms"],
        "whole tick": loop["tick_ms"],
    }
    return page.render(
        TEMPLATE,
        written=written,
        numbers=numbers,
        first_nfe=first_nfe,
        first=first,
        rate_text=rate_text,
        deadlines=deadlines(loop["ticks"], numbers["deadline_misses"], loop["skipped_ticks"]),
        success=_success(numbers),
        training=_training(results),
        calls=histogram(latencies, deadline=1000 / loop["rate"]),
        count=len(latencies),
        percentiles=LATENCIES,
        latencies={name: [f"{part[key]:.1f}" for key in LATENCIES] for name, part in parts.items() if part},
        split=split(times),
        times=times,
        again=[results.titles.get(name, name) for name, count in numbers["attempts"].items() if count > 1],
        film=data_uri(results.film, "gif") if results.film else None,
        strip=data_uri(results.strip, "png") if results.strip else None,
        no_film=results.no_film,
        made_with=numbers["machine"]
        | numbers["versions"]
        | ({"revision": numbers["git"]} if numbers.get("git") else {}),
    )


def _success(numbers: dict[str, Any]) -> Markup:
    bars = [_bar(f"iSD, {nfe} NFE", entry, "method") for nfe, entry in numbers["success"].items()]
    bars += [
        _bar(f"Regression, {nfe} NFE", entry, "baseline") for nfe, entry in numbers["regression"]["success"].items()
    ]
    return success_bars(bars)


def _bar(label: str, entry: dict[str, Any], kind: str) -> Bar:
    return Bar(label, entry["rate"], entry["low"], entry["high"], rate_text(entry), kind)


def _training(results: Results) -> Markup | None:
    """The losses of both trainings; None where the logs hold none."""
    records = results.logs.get("isd", [])
    lines = [
        Curve(TERMS.get(term, term), [(r["step"], r[term]) for r in records if term in r], kind)
        for term, kind in zip(_terms(records), ("method", "second"), strict=False)
    ]
    baseline = results.logs.get("regression", [])
    lines.append(Curve("regression", [(r["step"], r["loss"]) for r in baseline if "loss" in r], "baseline"))
    lines = [line for line in lines if line.points]
    return curves(lines, "optimiser step") if lines else None


def _terms(records: Sequence[dict[str, Any]]) -> list[str]:
    """The loss's terms in a log, flow matching first; the loss itself where it has none."""
    found = [key for key in (records[0] if records else {}) if key not in NO_TERMS]
    return sorted(found, key=lambda term: (term != "flow", term)) or ["loss"]
