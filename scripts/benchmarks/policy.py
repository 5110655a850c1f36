"""Policies of many methods on many tasks, on one code base: trained, chosen, evaluated, in one table and one figure.

    python scripts/benchmark_policy.py [--plan FILE.yaml | --quick] [--out DIR] [--records DIR] [--only NAME ...]
        [--workers N] [--launcher local|submitit|ray]
    python scripts/benchmark_policy.py --report
    python scripts/benchmark_policy.py --compare --records DIR

A plan names tasks x methods x seeds and a budget for each task (scripts/benchmarks/plans). Every training leaves a
record, docs/results/<plan>/cells/*.json: what has one is not run again, so a plan goes on over days and machines.
Checkpoints, logs, table.md and figures lie in --out. --report makes the tables and figures of README and docs from the
records alone, and exits with 1 if one of them was another. --compare sets records of one's own beside the published
ones, start by start.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from isd_core.support.machine import cores
from scripts.benchmarks import policy_plan, policy_report, policy_steps, policy_table
from scripts.benchmarks.policy_cells import LatencyCell, measure, record, time_calls
from scripts.support import command
from scripts.support.cells import existing, run_cells
from scripts.support.launchers import LAUNCHERS

PLANS = Path(__file__).resolve().parent / "plans"


def run(given: argparse.Namespace) -> int:
    """Does what the flags ask for; returns the exit code."""
    if given.report:
        return policy_report.update(PLANS)
    path = PLANS / "policy_quick.yaml" if given.quick else given.plan
    own = given.quick or given.out is not None  # a trial, or a run beside the published one
    out = given.out or Path("runs/benchmark") / path.stem
    published = policy_report.RESULTS / path.stem
    kept = given.records or (out if own else published)
    plan = policy_plan.read(path, out, given.only, workers=max(1, cores() // given.workers))
    if given.compare:
        return policy_report.compare(existing(kept, plan.cells), existing(published, plan.cells), kept, published)
    missing = [cell for cell in plan.cells if cell.name not in existing(kept, plan.cells)]
    if plan.demos and missing:
        run_cells(record, plan.demos, out, 1, "demonstrations")
    records = run_cells(measure, plan.cells, out, given.workers, "trainings", given.launcher, kept)
    timed = [LatencyCell(cell.name, cell.samplings, cell.device) for cell in plan.cells if cell.name in records]
    here = [cell for cell in timed if (out / "runs" / cell.run).exists()]  # not those of another machine
    run_cells(time_calls, here, out, 1, "latencies", records=kept)
    return report(policy_report.timed(kept, plan.cells), out, path, len(plan.cells))


def report(records: policy_table.Records, out: Path, plan: Path, wanted: int) -> int:
    """Prints the table of the records and writes it with its figures into `out`; returns the exit code."""
    found = policy_table.rows(records)
    text = policy_table.markdown(found, records)
    if curves := policy_steps.curves(records):
        text += "\n\n" + policy_steps.markdown(curves)
        policy_steps.draw(out / "steps.png", curves)
    command.write(out, {"plan": plan.stem, "rows": policy_table.content(found), "cells": records}, text)
    policy_table.draw(out / "latency.png", found)
    print(text)
    print(f"{len(records)} of {wanted} trainings. Written: {out}/table.md, table.json and figures.")
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
    result.add_argument("--records", type=Path, help="folder of the records (default docs/results/<plan>, or --out)")
    result.add_argument("--report", action="store_true", help="train nothing; tables and figures of the documentation")
    result.add_argument("--compare", action="store_true", help="train nothing; own records beside the published ones")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
