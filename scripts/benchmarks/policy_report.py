"""The published results of the policy benchmark: pages and figures made from the records in docs/results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from scripts.benchmarks import policy_plan, policy_steps, policy_table
from scripts.benchmarks.policy_cells import LatencyCell, PolicyCell
from scripts.support import pages, tables
from scripts.support.cells import existing

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
"""A folder for each plan with published records."""
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MEDIA = ROOT / "docs" / "media"


@dataclass(frozen=True)
class Figure:
    """A figure's file, what tells whether it is drawn from the present numbers, and what draws it."""

    path: Path
    digest: str
    draw: Callable[[Path, str], None]


def timed(records: Path, cells: Sequence[PolicyCell]) -> dict[str, dict[str, Any]]:
    """The records of the finished trainings by name, with their latencies where those were measured."""
    found = existing(records, cells)
    latencies = existing(records, [LatencyCell(cell.name, cell.samplings, cell.device) for cell in cells])
    for name, record in found.items():
        if (latency := latencies.get(f"latency_{name}")) is not None:
            record["result"]["latency_ms"] = latency["result"]
    return found


def published(plans: Path) -> tuple[dict[str, str], list[Figure]]:
    """The parts of pages by name (`<plan> overview`, ...), and the figures. plans: the folder of the plans."""
    parts: dict[str, str] = {}
    figures: list[Figure] = []
    for folder in sorted(path for path in RESULTS.glob("*") if path.is_dir()):
        plan = policy_plan.read(plans / f"{folder.name}.yaml", Path("runs/benchmark") / folder.name)
        records = timed(folder, plan.cells)
        _check_whole(folder, records)
        of_plan, drawn = _of_plan(folder.name, records, len(plan.cells))
        parts |= of_plan
        figures += drawn
    return parts, figures


def _of_plan(name: str, records: policy_table.Records, wanted: int) -> tuple[dict[str, str], list[Figure]]:
    rows, curves = policy_table.rows(records), policy_steps.curves(records)
    parts = {f"{name} {key}": text for key, text in policy_table.parts(rows, records).items()}
    parts[f"{name} trainings"] = f"{len(records)} of {wanted} trainings of the plan."
    shown = _digest(policy_table.content(rows))
    figures = [Figure(MEDIA / f"{name}.png", shown, lambda path, digest: policy_table.draw(path, rows, digest))]
    if curves:
        parts[f"{name} steps"] = policy_steps.markdown(curves)
        shown = _digest([[task, key, curve] for task, of in curves.items() for key, curve in of.items()])
        place = MEDIA / f"{name}_steps.png"
        figures.append(Figure(place, shown, lambda path, digest: policy_steps.draw(path, curves, digest)))
    return parts, figures


def _check_whole(folder: Path, records: Mapping[str, Any]) -> None:
    """Raises `InputError` for a record that its plan does not name."""
    files = [path for path in (folder / "cells").glob("*.json") if not path.name.startswith("latency_")]
    for path in files:
        if path.stem not in records:
            raise InputError(f"{path} is no training of the plan {folder.name}: remove it, or add it to the plan.")


def _digest(content: Any) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def update(plans: Path) -> int:
    """Writes what differs from the records; returns 1 if something did, else 0."""
    from scripts.support.figures import made_of

    parts, figures = published(plans)
    changed = [page for page in PAGES if pages.fill(page, parts)]
    for figure in figures:
        if made_of(figure.path) != figure.digest:
            figure.draw(figure.path, figure.digest)
            changed.append(figure.path)
    for path in changed:
        print(f"{path.relative_to(ROOT)} differed from its records and was written again.", file=sys.stderr)
    print(f"{len(parts)} parts of pages and {len(figures)} figures are those of the records in docs/results.")
    return 1 if changed else 0


def compare(own: policy_table.Records, others: policy_table.Records, here: Path, there: Path) -> int:
    """Prints how two folders' records of the same trainings agree, start by start; returns the exit code."""
    shared = [name for name in own if name in others]
    if not shared:
        raise InputError(f"{here} and {there} have no training in common; the first has {len(own)}.")
    rows = []
    for name in shared:
        first, second = own[name]["result"], others[name]["result"]
        same_data = "same" if first["data"] == second["data"] else "other"
        for sampling in first["samplings"]:
            a, b = (policy_table.outcomes_of(result, sampling, result["best"]) for result in (first, second))
            if len(a) != len(b):
                raise InputError(f"{name}: {here} has {len(a)} starts, {there} {len(b)}; compare the same plan.")
            equal = sum(x == y for x, y in zip(a, b, strict=True))
            rows.append([name, sampling, same_data, sum(a) / len(a), sum(b) / len(b), f"{equal} of {len(a)}"])
    print(tables.markdown(["training", "NFE", "data", "here", "published", "equal starts"], rows))
    return 0
