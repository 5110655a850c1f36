"""A plan of the policy benchmark: tasks x methods x seeds x numbers of network evaluations, from a YAML file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isd_core.support.errors import InputError
from scripts.benchmarks.policy_cells import DemosCell, PolicyCell, Sampling
from scripts.support.heads import objectives


@dataclass(frozen=True)
class Method:
    """A method: its objective, how it is sampled, and overrides of its training beside the plan's."""

    objective: str
    samplings: tuple[Sampling, ...]
    words: tuple[str, ...] = ()


ONE_AND_TWO = (Sampling(1), Sampling(2))
SAMPLINGS = {
    "flow_matching": (Sampling(9),),
    "ddpm": (Sampling(100), Sampling(10, "ddim")),
    "mip": (Sampling(2),),
    "regression": (Sampling(1),),
}
"""How the objectives are sampled that are no flow maps; the others at one and two network evaluations."""
FIELDS = {"tasks", "methods", "seeds", "train", "evaluation"}
TASK_FIELDS = {"task", "data", "demos", "train"}
METHOD_FIELDS = {"of", "nfe", "train"}
EVALUATION_FIELDS = {"last", "episodes", "select", "seed"}
EVALUATION_OPTIONS = {"device", "rows"}


@dataclass(frozen=True)
class Plan:
    """The cells of a plan: demonstrations first, then trainings, all methods of the first seed before the second."""

    demos: list[DemosCell]
    cells: list[PolicyCell]


def read(path: Path, out: Path, only: Sequence[str] = (), workers: int = 1) -> Plan:
    """The plan in a YAML file, with results under `out`.

    only: tasks or methods to keep, all if empty. Raises `InputError` for a field, method or task that does not
    exist, and for a missing field.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"The plan {path} cannot be read: {error}") from error
    _check(path, "plan", content, FIELDS, needed=FIELDS)
    methods = _methods(path, content["methods"])
    tasks = content["tasks"]
    if unknown := [name for name in only if name not in tasks and name not in methods]:
        raise InputError(f"--only {unknown[0]}: the plan has the tasks {', '.join(tasks)} and {', '.join(methods)}.")
    tasks = {name: task for name, task in tasks.items() if name in only or not set(only) & set(tasks)}
    methods = {name: method for name, method in methods.items() if name in only or not set(only) & set(methods)}
    evaluation = content["evaluation"]
    _check(path, "evaluation", evaluation, EVALUATION_FIELDS | EVALUATION_OPTIONS, needed=EVALUATION_FIELDS)
    how = {"seed_of_starts" if key == "seed" else key: value for key, value in evaluation.items()}
    how |= {"workers": workers}
    demos, cells = [], []
    for name, task in tasks.items():
        _check(path, f"task {name}", task, TASK_FIELDS)
        if ("data" in task) == ("demos" in task):
            raise InputError(f"{path}: the task {name} needs either data, a file, or demos, for scripted ones.")
        if "demos" in task:
            demos.append(DemosCell(name, tuple(f"{key}={value}" for key, value in task["demos"].items())))
    for seed in content["seeds"]:
        for name, task in tasks.items():
            data = str(out / f"demos_{name}.hdf5") if "demos" in task else str(task["data"])
            for label, method in methods.items():
                words = (f"task={task['task']}", f"objective={method.objective}", *content["train"])
                words += (*task.get("train", ()), *method.words)
                cells.append(PolicyCell(name, label, seed, data, words, method.samplings, **how))
    return Plan(demos, cells)


def _methods(path: Path, content: Any) -> dict[str, Method]:
    """The methods of a plan by name: a list of objectives, or a mapping of names to changes of objectives."""
    changes = content if isinstance(content, Mapping) else dict.fromkeys(content)
    known, result = objectives(policies=True), {}
    for name, change in changes.items():
        change = {} if change is None else change
        _check(path, f"method {name}", change, METHOD_FIELDS)
        objective = change.get("of", name)
        if objective not in known:
            raise InputError(f"{path} names the method {objective}; known: {', '.join(known)}.")
        samplings = SAMPLINGS.get(objective, ONE_AND_TWO)
        if "nfe" in change:
            samplings = tuple(Sampling(nfe) for nfe in change["nfe"])
        result[name] = Method(objective, samplings, tuple(change.get("train", ())))
    return result


def _check(path: Path, what: str, content: Any, known: set[str], needed: Collection[str] = ()) -> None:
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: the {what} must be a mapping with {', '.join(sorted(known))}.")
    if unknown := sorted(set(content) - known):
        raise InputError(f"{path}: the {what} has no field `{unknown[0]}`; known: {', '.join(sorted(known))}.")
    if missing := sorted(set(needed) - set(content)):
        raise InputError(f"{path}: the {what} lacks the field `{missing[0]}`; it has {', '.join(sorted(known))}.")
