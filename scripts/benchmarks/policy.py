"""Policies of many methods on many tasks, on one code base: trained, chosen, evaluated, in one table and one figure.

    python scripts/benchmark_policy.py [--plan FILE.yaml | --quick] [--out DIR] [--only NAME ...] [--workers N]
        [--launcher local|submitit|ray] [--report]

A plan names tasks x methods x seeds and a budget for each task (scripts/benchmarks/plans). Writes table.json, table.md,
latency.png and, where trainings have three checkpoints or more, steps.png; the same command goes on where it was cut
off.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from isd_core.support.errors import InputError
from isd_core.support.machine import cores
from scripts.benchmarks import policy_plan, policy_steps, policy_table
from scripts.benchmarks.policy_cells import LatencyCell, measure, record, time_calls
from scripts.support import command
from scripts.support.cells import finished, run_cells
from scripts.support.launchers import LAUNCHERS

PLANS = Path(__file__).resolve().parent / "plans"


def run(given: argparse.Namespace) -> int:
    """Measures what the flags ask for, prints the table and writes it; returns the exit code."""
    path = PLANS / "policy_quick.yaml" if given.quick else given.plan
    out = given.out or Path("runs/benchmark") / path.stem
    plan = policy_plan.read(path, out, given.only, workers=max(1, cores() // given.workers))
    if given.report:
        there = {cell.name: finished(out, cell) for cell in plan.cells}
        records = {name: found for name, found in there.items() if found is not None}
        if not records:
            raise InputError(f"--report: no training of this plan is finished in {out}.")
    else:
        if plan.demos:
            run_cells(record, plan.demos, out, 1, "demonstrations")
        records = run_cells(measure, plan.cells, out, given.workers, "trainings", given.launcher)
    timed = [LatencyCell(cell.name, cell.samplings, cell.device) for cell in plan.cells if cell.name in records]
    latencies = run_cells(time_calls, timed, out, 1, "latencies")
    for cell in timed:
        records[cell.run]["result"]["latency_ms"] = latencies[cell.name]["result"]
    about = command.machine()
    found = policy_table.rows(records)
    text = policy_table.markdown(found, records, command.described(about))
    if curves := policy_steps.curves(records):
        text += "\n\n" + policy_steps.markdown(curves)
        policy_steps.draw(out / "steps.png", curves)
    rows = policy_table.content(found)
    command.write(out, {"plan": str(path), "machine": about, "rows": rows, "cells": records}, text)
    policy_table.draw(out / "latency.png", found)
    print(text)
    print(f"{len(records)} of {len(plan.cells)} trainings. Written: {out}/table.md, table.json and figures.")
    return 0


def flags() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python scripts/benchmark_policy.py", description=(__doc__ or "").split("\n\n")[0]
    )
    result.add_argument(
        "--plan", type=Path, default=PLANS / "policy_cpu.yaml", help="a YAML file; see scripts/benchmarks/plans"
    )
    result.add_argument("--quick", action="store_true", help="every method at a toy size: shows only that it runs")
    result.add_argument("--out", type=Path, help="folder of the results (default runs/benchmark/<plan>)")
    result.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these tasks or methods of the plan")
    result.add_argument("--workers", type=int, default=1, help="trainings at once")
    result.add_argument("--launcher", default="local", choices=sorted(LAUNCHERS), help="where trainings run")
    result.add_argument("--report", action="store_true", help="train nothing; the table of what is finished")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
