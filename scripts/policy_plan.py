"""A plan of the policy benchmark: tasks x methods x seeds x numbers of network evaluations, from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isd_core.errors import InputError
from scripts.policy_cells import DemosCell, PolicyCell, Sampling

METHODS: dict[str, tuple[str, tuple[Sampling, ...]]] = {
    "isd": ("isd", (Sampling(1), Sampling(2))),
    "meanflow": ("meanflow", (Sampling(1), Sampling(2))),
    "lsd": ("lsd", (Sampling(1), Sampling(2))),
    "psd": ("psd", (Sampling(1), Sampling(2))),
    "ict": ("ict", (Sampling(1), Sampling(2))),
    "flow": ("flow_matching", (Sampling(9),)),
    "ddpm": ("ddpm", (Sampling(100), Sampling(10, "ddim"))),
    "mip": ("mip", (Sampling(2),)),
    "regression": ("regression", (Sampling(1),)),
}
"""Method -> its objective, and how it is sampled."""
FIELDS = {"tasks", "methods", "seeds", "train", "evaluation"}
TASK_FIELDS = {"task", "data", "demos", "train"}
EVALUATION_FIELDS = {"last", "episodes", "select", "seed"}


@dataclass(frozen=True)
class Plan:
    """The cells of a plan: demonstrations first, then trainings, all methods of the first seed before the second."""

    demos: list[DemosCell]
    cells: list[PolicyCell]


def read(path: Path, out: Path, only: Sequence[str] = (), workers: int = 1) -> Plan:
    """The plan in a YAML file, with results under `out`.

    only: tasks or methods to keep, all if empty. Raises `InputError` for a field, method or task that does not exist.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"The plan {path} cannot be read: {error}") from error
    _check(path, "plan", content, FIELDS)
    methods = list(METHODS) if content["methods"] == "all" else list(content["methods"])
    if unknown := [name for name in methods if name not in METHODS]:
        raise InputError(f"{path} names the method {unknown[0]}; known: {', '.join(METHODS)}.")
    tasks = content["tasks"]
    if unknown := [name for name in only if name not in tasks and name not in methods]:
        raise InputError(f"--only {unknown[0]}: the plan has the tasks {', '.join(tasks)} and {', '.join(methods)}.")
    tasks = {name: task for name, task in tasks.items() if name in only or not set(only) & set(tasks)}
    methods = [name for name in methods if name in only or not set(only) & set(methods)]
    evaluation = dict(content["evaluation"])
    _check(path, "evaluation", evaluation, EVALUATION_FIELDS)
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
            for method in methods:
                objective, samplings = METHODS[method]
                words = (f"task={task['task']}", f"objective={objective}", *content["train"], *task.get("train", ()))
                options: dict[str, Any] = {"last": evaluation["last"], "episodes": evaluation["episodes"]}
                options |= {"select": evaluation["select"], "seed_of_starts": evaluation["seed"], "workers": workers}
                cells.append(PolicyCell(name, method, seed, data, words, samplings, **options))
    return Plan(demos, cells)


def _check(path: Path, what: str, content: Any, known: set[str]) -> None:
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: the {what} must be a mapping with {', '.join(sorted(known))}.")
    if unknown := sorted(set(content) - known):
        raise InputError(f"{path}: the {what} has no field `{unknown[0]}`; known: {', '.join(sorted(known))}.")
