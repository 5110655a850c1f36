"""The policy benchmark's checkpoints against the steps of their training, as a table and a figure."""

from __future__ import annotations

import statistics
from pathlib import Path

from scripts.benchmarks.policy_table import Records, outcomes_of
from scripts.support import tables

Curves = dict[str, dict[tuple[str, str], dict[int, list[float]]]]
"""task -> (method, sampling) -> steps -> the mean success or score of each seed."""

FEWEST = 3
"""Checkpoints of a training from which on a curve says something."""


def curves(records: Records) -> Curves:
    """The curves of the records; a task whose trainings have fewer than `FEWEST` checkpoints has none."""
    result: Curves = {}
    for record in records.values():
        made, found = record["settings"], record["result"]
        if len(found["steps"]) < FEWEST:
            continue
        of_task = result.setdefault(made["task"], {})
        for sampling in found["samplings"]:
            of_method = of_task.setdefault((made["method"], sampling), {})
            for step in found["steps"]:
                of_method.setdefault(int(step), []).append(statistics.fmean(outcomes_of(found, sampling, step)))
    return result


def markdown(found: Curves) -> str:
    """A table a task: mean and standard deviation over the seeds at each checkpoint."""
    parts = []
    for task, methods in found.items():
        steps = sorted({step for curve in methods.values() for step in curve})
        header = ["method", "NFE", *(f"{step:,} steps" for step in steps)]
        body = [
            [*name, *(str(tables.spread(curve.get(step, [])) or "-") for step in steps)]
            for name, curve in methods.items()
        ]
        parts += [f"#### {task}, against the steps of the training", tables.markdown(header, body)]
    return "\n\n".join(parts)


def draw(path: Path, found: Curves, digest: str = "") -> None:
    """A panel a task, a line a method and NFE: the mean over seeds, and their range. digest: kept in the file."""
    from scripts.support.figures import figure

    with figure(path, columns=len(found), made_of=digest) as axes:
        for place, (task, methods) in zip(axes, found.items(), strict=True):
            for (method, sampling), curve in methods.items():
                steps = sorted(curve)
                means = [statistics.fmean(curve[step]) for step in steps]
                (line,) = place.plot(steps, means, marker=".", label=f"{method} {sampling}")
                low, high = ([of(curve[step]) for step in steps] for of in (min, max))
                place.fill_between(steps, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
            place.set(title=task, xlabel="training steps", ylabel="mean over starts")
            place.legend(fontsize=6)
