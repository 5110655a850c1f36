"""The demo's report: the numbers as JSON, and one self-contained page.

    python -m scripts.demo.report runs/demo

reads what the demo's commands left in the folder and writes `report.json` and `report.html` beside it. A part that is
missing becomes a sentence that says so.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, write_json
from isd_policy.deploy.loop.report import deadlines
from scripts.demo.page import render
from scripts.demo.results import Results, collect, rate_text


def write(folder: Path) -> Results:
    """Writes report.json and report.html into the folder."""
    results = collect(folder)
    write_json(folder / "report.json", results.numbers)
    with atomic_write(folder / "report.html") as temporary:
        temporary.write_text(render(results, written=f"{datetime.now():%Y-%m-%d %H:%M}"))
    return results


def summary(results: Results, folder: Path) -> str:
    """The lines that the demo ends with."""
    numbers = results.numbers
    rates = "; ".join(f"{nfe} NFE {rate_text(entry)}" for nfe, entry in numbers["success"].items())
    latency, loop = numbers["latency_ms"], numbers["control_loop"]
    baseline = "; ".join(f"{rate_text(entry)}" for entry in numbers["regression"]["success"].values())
    split = ", ".join(f"{results.titles.get(name, name)} {value:.0f} s" for name, value in numbers["seconds"].items())
    policy = folder / "policy"
    lines = [
        f"Time: {split}; {numbers['total_seconds']:.0f} s in all, without the installation.",
        f"{numbers['task'].capitalize()}, iSD, successes: {rates} (Wilson 95 %).",
        f"Regression of the same network, data and budget: {baseline}. {numbers['comparison']}.",
        f"Control loop at {loop['rate']:g} Hz, 1 NFE: {kept(numbers)}; "
        f"policy call {latency['p50']:.1f} ms p50, {latency['p99']:.1f} ms p99, "
        f"{latency['max']:.1f} ms at most.",
        f"Written: {folder / 'report.html'}, {folder / 'report.json'}. "
        f"Next: .venv/bin/python -m isd_policy.run checkpoint={policy} rate=20 seconds=10",
    ]
    return "\n".join(lines)


def kept(numbers: dict[str, Any]) -> str:
    """How the control loop kept its deadlines."""
    loop = numbers["control_loop"]
    return deadlines(loop["ticks"], numbers["deadline_misses"], loop["skipped_ticks"])


def markdown(results: Results) -> str:
    """The table for a README, with its protocol below."""
    numbers = results.numbers
    rows = [("iSD", nfe, entry) for nfe, entry in numbers["success"].items()]
    rows += [("regression", nfe, entry) for nfe, entry in numbers["regression"]["success"].items()]
    lines = ["| method | NFE | successes | Wilson 95 % |", "|---|---|---|---|"]
    lines += [
        f"| {method} | {nfe} | {e['successes']} of {e['episodes']} | {100 * e['low']:.1f}-{100 * e['high']:.1f} |"
        for method, nfe, e in rows
    ]
    latency, loop, machine = numbers["latency_ms"], numbers["control_loop"], numbers["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in numbers["versions"].items())
    protocol = "; ".join(f"{key}: {value}" for key, value in numbers["protocol"].items())
    lines += [
        "",
        f"{numbers['task'].capitalize()}, seed {numbers['seed']}. {protocol}. {numbers['comparison']}. Control loop at "
        f"{loop['rate']:g} Hz: {kept(numbers)}; policy call "
        f"{latency['p50']:.1f} ms p50, {latency['p99']:.1f} ms p99. {numbers['total_seconds']:.0f} s in all, of which "
        f"{numbers['demo_seconds']:.0f} s demonstrations and {numbers['train_seconds']:.0f} s iSD training, on "
        f"{machine['cores']} cores ({machine['processor']}). {versions}.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Renders the report of a folder again."""
    parser = argparse.ArgumentParser(prog="scripts.demo.report", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/demo"))
    parser.add_argument("--markdown", action="store_true", help="print the table for a README instead")
    given = parser.parse_args()
    try:
        if given.markdown:
            print(markdown(collect(given.folder)))
        else:
            print(summary(write(given.folder), given.folder))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
