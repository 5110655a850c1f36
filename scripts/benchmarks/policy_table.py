"""The table of the policy benchmark, its figure, and what the numbers say."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isd_envs.rollouts.statistics import mcnemar, mean_and_error, wilson
from isd_envs.tasks import is_graded
from scripts.support import tables
from scripts.support.heads import objectives

Records = Mapping[str, Mapping[str, Any]]
PACKAGES = ("torch", "mujoco", "robosuite", "gym-pusht", "pymunk")


@dataclass(frozen=True)
class Row:
    """One method at one sampling on one task. Rates are in [0, 1].

    mean: over seeds and the last checkpoints, of success or (graded tasks) score; spread: over seeds, None for one.
    best: of the checkpoint that was chosen on other starts, over seeds; low, high: Wilson's interval of its successes,
    or (graded) two standard errors around its score, within [0, 1]. latency_ms: None where it was not measured.
    outcomes: of its starts.
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
    latency_ms: float | None
    train_seconds: float
    graded: bool
    outcomes: list[float]

    @property
    def kind(self) -> str:
        """`score` for a graded task, else `success`."""
        return "score" if self.graded else "success"


def kind_of(result: Mapping[str, Any]) -> str:
    """What a training's outcomes are told by: `score` for a graded task, else `success`."""
    return "score" if is_graded(result["protocol"]["environment"]) else "success"


def outcomes_of(result: Mapping[str, Any], sampling: str, step: int | str) -> list[float]:
    """What each start came to at a checkpoint: the score of a graded task, else 1 for a success and 0."""
    outcomes = result["samplings"][sampling][str(step)]
    if kind_of(result) == "score":
        return list(outcomes["score"])
    return [float(success == "1") for success in outcomes["success"]]


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
    graded = kind_of(results[0]) == "score"
    means = [
        statistics.fmean(statistics.fmean(outcomes_of(result, sampling, step)) for step in result["steps"])
        for result in results
    ]
    pooled = [value for result in results for value in outcomes_of(result, sampling, result["best"])]
    if graded:
        mean, error = mean_and_error(pooled)
        low, high = max(0.0, mean - 2 * error), min(1.0, mean + 2 * error)
    else:
        low, high = wilson(round(sum(pooled)), len(pooled))
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
        latency_ms=_median([result["latency_ms"][sampling] for result in results if "latency_ms" in result]),
        train_seconds=statistics.fmean(result["train_seconds"] for result in results),
        graded=graded,
        outcomes=pooled,
    )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def markdown(found: Sequence[Row], records: Records) -> str:
    """The page: how it was made, an overview, a table a task, and what they say."""
    given = parts(found, records)
    return "\n\n".join(["# Policies", *(given[name] for name in ("protocol", "overview", "tasks") if name in given)])


def parts(found: Sequence[Row], records: Records) -> dict[str, str]:
    """The page's parts by name: `protocol`, `overview` (of several tasks), `tasks`."""
    tasks = list(dict.fromkeys(row.task for row in found))
    result = {"protocol": _protocol(records)} | ({"overview": _overview(found, tasks)} if len(tasks) > 1 else {})
    of_tasks = []
    for task in tasks:
        chosen = [row for row in found if row.task == task]
        of_tasks += [f"#### {task}", _training(records, task), _table(chosen), *_reading(chosen)]
    return result | {"tasks": "\n\n".join(of_tasks)}


def _protocol(records: Records) -> str:
    first = next(iter(records.values()))
    settings, protocol = first["settings"], first["result"]["protocol"]
    kept = (
        f"`last` is the mean over the last {settings['last']} checkpoints, `best` one of them chosen on "
        f"{settings['select']} other starts"
        if settings["last"] > 1
        else "both columns are the last checkpoint"
    )
    return (
        f"Every method with the same network ({first['result']['parameters'] / 1e6:.2f}M parameters), data, normaliser "
        f"and steps unless told below. {settings['episodes']} starts that training never saw (seed "
        f"{settings['seed_of_starts']}), the same for all; {kept}. Cap {protocol['max_steps']} steps "
        f"or the task's own; {protocol['initial_noise']} initial noise; EMA weights; "
        f"{protocol['environment']['engine']} engine, {protocol['environment']['mode']} mode. Milliseconds are "
        f"a policy call of one robot, {_where(settings['device'])}. {_made_on(records)}."
    )


def _made_on(records: Records) -> str:
    """The machines and versions of the records, each once."""
    machines = [f"{record['processor']}, {record['cores']} cores" for record in records.values()]
    machines += [str(record["gpu"]) for record in records.values() if record["gpu"]]
    versions = [record["result"]["versions"] for record in records.values()]
    packages = [f"{name} {each[name]}" for name in PACKAGES for each in versions if name in each]
    return "; ".join([*dict.fromkeys(machines), ", ".join(dict.fromkeys(packages))])


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
            "-" if row.latency_ms is None else f"{row.latency_ms:.1f}",
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
        slower = ""
        if row.latency_ms is not None and isd.latency_ms is not None:
            slower = f"; {row.latency_ms / isd.latency_ms:.1f} times the latency"
        said.append(f"{row.method} {row.sampling} ({_compared(isd, row)}{slower})")
    what = "Scores" if isd.graded else "Successes"
    return [f"{what} of iSD at 1 NFE against each other method on the same starts: {'; '.join(said)}."] if said else []


def _compared(first: Row, second: Row) -> str:
    """The verdict on two rows of the same starts: McNemar's test, or (graded) the mean difference of the scores."""
    if first.graded:
        mean, error = mean_and_error([a - b for a, b in zip(first.outcomes, second.outcomes, strict=True)])
        verdict = "different" if abs(mean) > 2 * error else "not distinguishable"
        return f"{verdict}, {mean:+.3f} ± {error:.3f}"
    found = mcnemar([value == 1 for value in first.outcomes], [value == 1 for value in second.outcomes])
    return f"{'different' if found.different else 'not distinguishable'}, p = {found.p_value:.2g}"


def draw(path: Path, found: Sequence[Row], digest: str = "") -> None:
    """Success of the chosen checkpoint against latency, with its interval: a panel a task, a point a method and NFE.

    digest: of what is drawn, kept in the file.
    """
    from scripts.support.figures import figure

    tasks = list(dict.fromkeys(row.task for row in found))
    methods = list(dict.fromkeys(row.method for row in found))
    with figure(path, columns=len(tasks), made_of=digest) as axes:
        for place, task in zip(axes, tasks, strict=True):
            chosen = [row for row in found if row.task == task]
            for row in chosen:
                if row.latency_ms is None:
                    continue
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
    return [{key: value for key, value in asdict(row).items() if key != "outcomes"} for row in found]
