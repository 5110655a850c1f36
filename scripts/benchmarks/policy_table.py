"""The table of the policy benchmark, its figure, and what the numbers say."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isd_envs.rollouts.statistics import mcnemar, mean_and_error, wilson
from isd_envs.tasks import task_named
from scripts.support import tables
from scripts.support.heads import objectives

Records = Mapping[str, Mapping[str, Any]]
SIMULATORS = ("mujoco", "robosuite", "gym-pusht", "pymunk")


@dataclass(frozen=True)
class Row:
    """One method at one sampling on one task. Rates are in [0, 1].

    mean: over seeds and the last checkpoints, of success or (graded tasks) score; spread: over seeds, None for one.
    best: of the checkpoint that was chosen on other starts, over seeds; low, high: Wilson's interval of its successes,
    or (graded) two standard errors around its score, within [0, 1].
    """

    task: str
    method: str
    sampling: str
    nfe: int
    seeds: int
    mean: float
    spread: float | None
    best: float
    low: float
    high: float
    latency_ms: float
    train_seconds: float
    graded: bool
    outcomes: list[bool]
    scores: list[float]

    @property
    def kind(self) -> str:
        """`score` for a graded task, else `success`."""
        return "score" if self.graded else "success"


def kind_of(result: Mapping[str, Any]) -> str:
    """What a training's outcomes are told by: `score` for a graded task, else `success`."""
    return "score" if task_named(result["protocol"]["environment"]["task"]).graded else "success"


def rows(records: Records) -> list[Row]:
    """One row for each task, method and sampling, in the order of the records."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records.values():
        groups.setdefault((record["settings"]["task"], record["settings"]["method"]), []).append(record)
    return [
        _row(task, method, sampling, group)
        for (task, method), group in groups.items()
        for sampling in group[0]["result"]["samplings"]
    ]


def _row(task: str, method: str, sampling: str, group: Sequence[Mapping[str, Any]]) -> Row:
    results = [record["result"] for record in group]
    kind = kind_of(results[0])
    graded = kind == "score"
    means = [
        statistics.fmean(statistics.fmean(outcomes[kind]) for outcomes in result["samplings"][sampling].values())
        for result in results
    ]
    best = [result["samplings"][sampling][str(result["best"])] for result in results]
    pooled = [value for outcomes in best for value in outcomes[kind]]
    if graded:
        mean, error = mean_and_error(pooled)
        low, high = max(0.0, mean - 2 * error), min(1.0, mean + 2 * error)
    else:
        low, high = wilson(sum(pooled), len(pooled))
    return Row(
        task=task,
        method=method,
        sampling=sampling,
        nfe=int(sampling.split()[0]),
        seeds=len(results),
        mean=statistics.fmean(means),
        spread=statistics.stdev(means) if len(means) > 1 else None,
        best=statistics.fmean(pooled),
        low=low,
        high=high,
        latency_ms=statistics.median(result["latency_ms"][sampling] for result in results),
        train_seconds=statistics.fmean(result["train_seconds"] for result in results),
        graded=graded,
        outcomes=[success for outcomes in best for success in outcomes["success"]],
        scores=[score for outcomes in best for score in outcomes["score"]],
    )


def markdown(found: Sequence[Row], records: Records, about: str) -> str:
    """The page: how it was made, a table a task, and what they say."""
    first = next(iter(records.values()))
    settings, protocol = first["settings"], first["result"]["protocol"]
    kept = (
        f"`last` is the mean over the last {settings['last']} checkpoints, `best` one of them chosen on "
        f"{settings['select']} other starts"
        if settings["last"] > 1
        else "both columns are the last checkpoint"
    )
    simulators = ", ".join(f"{name} {first['versions'][name]}" for name in SIMULATORS if name in first["versions"])
    parts = [
        "# Policies",
        f"Every method with the same network ({first['result']['parameters'] / 1e6:.2f}M parameters), data, normaliser "
        f"and steps unless told below. {settings['episodes']} starts that training never saw (seed "
        f"{settings['seed_of_starts']}), the same for all; {kept}. Cap {protocol['max_steps']} steps "
        f"or the task's own; {protocol['initial_noise']} initial noise; EMA weights; "
        f"{protocol['environment']['engine']} engine, {protocol['environment']['mode']} mode. Milliseconds are "
        f"a policy call of one robot, {_where(settings['device'])}. {about}, {simulators}.",
    ]
    tasks = list(dict.fromkeys(row.task for row in found))
    parts += [_overview(found, tasks)] if len(tasks) > 1 else []
    for task in tasks:
        chosen = [row for row in found if row.task == task]
        parts += [f"## {task}", _training(records, task), _table(chosen), *_reading(chosen)]
    return "\n\n".join(parts)


def _where(device: str) -> str:
    return "on one thread" if device == "cpu" else f"device={device}"


def _overview(found: Sequence[Row], tasks: Sequence[str]) -> str:
    """A row for each method and sampling, a column for each task: `last / best`, a dash where nothing was measured."""
    there = {(row.method, row.sampling, row.task): f"{row.mean:.2f} / {row.best:.2f}" for row in found}
    names = dict.fromkeys((row.method, row.sampling) for row in found)
    body = [[*name, *(there.get((*name, task), "-") for task in tasks)] for name in names]
    return tables.markdown(["last / best", "NFE", *tasks], body)


def _training(records: Records, task: str) -> str:
    """The training command that a task's methods share, and what some of them change: the objective is told of methods
    whose name is not their objective's.
    """
    settings = [record["settings"] for record in records.values() if record["settings"]["task"] == task]
    known = objectives(policies=True)
    words = {
        each["method"]: [w for w in each["words"] if each["method"] not in known or not w.startswith("objective=")]
        for each in settings
    }
    shared = [word for word in next(iter(words.values())) if all(word in other for other in words.values())]
    own = {method: " ".join(word for word in given if word not in shared) for method, given in words.items()}
    changes = [f"{method}: `{change}`" for method, change in own.items() if change]
    return f"`isd_policy.train {' '.join(shared)}`" + (f"; {'; '.join(changes)}" if changes else "")


def _table(chosen: Sequence[Row]) -> str:
    what = chosen[0].kind
    header = ["method", "NFE", "seeds", f"{what}, last", f"{what}, best", "95 %", "ms a call", "training, s"]
    body = [
        [
            row.method,
            row.sampling,
            str(row.seeds),
            f"{row.mean:.3f}" + (f" ± {row.spread:.3f}" if row.spread is not None else ""),
            f"{row.best:.3f}",
            f"{row.low:.3f}-{row.high:.3f}",
            f"{row.latency_ms:.1f}",
            f"{row.train_seconds:.0f}",
        ]
        for row in chosen
    ]
    return tables.markdown(header, body)


def _reading(chosen: Sequence[Row]) -> list[str]:
    """iSD in one evaluation against each baseline in as many as it takes, start by start."""
    isd = next((row for row in chosen if (row.method, row.nfe) == ("isd", 1)), None)
    if isd is None:
        return []
    said = []
    for row in chosen:
        if row is isd or row.method == "isd" or len(row.outcomes) != len(isd.outcomes):
            continue
        slower = row.latency_ms / isd.latency_ms
        said.append(f"{row.method} {row.sampling} ({_compared(isd, row)}; {slower:.1f} times the latency)")
    what = "Scores" if isd.graded else "Successes"
    return [f"{what} of iSD at 1 NFE against each other method on the same starts: {'; '.join(said)}."] if said else []


def _compared(first: Row, second: Row) -> str:
    """The verdict on two rows of the same starts: McNemar's test, or (graded) the mean difference of the scores."""
    if first.graded:
        mean, error = mean_and_error([a - b for a, b in zip(first.scores, second.scores, strict=True)])
        verdict = "different" if abs(mean) > 2 * error else "not distinguishable"
        return f"{verdict}, {mean:+.3f} ± {error:.3f}"
    found = mcnemar(first.outcomes, second.outcomes)
    return f"{'different' if found.different else 'not distinguishable'}, p = {found.p_value:.2g}"


def draw(path: Path, found: Sequence[Row]) -> None:
    """Success of the chosen checkpoint against latency, with its interval: a panel a task, a point a method and NFE."""
    from scripts.support.figures import figure

    tasks = list(dict.fromkeys(row.task for row in found))
    methods = list(dict.fromkeys(row.method for row in found))
    with figure(path, columns=len(tasks)) as axes:
        for place, task in zip(axes, tasks, strict=True):
            chosen = [row for row in found if row.task == task]
            for row in chosen:
                error = [[row.best - row.low], [row.high - row.best]]
                colour = f"C{methods.index(row.method)}"
                place.errorbar(row.latency_ms, row.best, error, fmt="o", color=colour, elinewidth=0.6, markersize=4)
                place.annotate(
                    f"{row.method} {row.sampling}", (row.latency_ms, row.best), fontsize=6, xytext=(3, 3),
                    textcoords="offset points",
                )  # fmt: skip
            place.set(title=task, xlabel="milliseconds a policy call", ylabel=f"{chosen[0].kind}, best", xscale="log")


def content(found: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON has them."""
    return [{key: value for key, value in asdict(row).items() if key not in ("outcomes", "scores")} for row in found]
