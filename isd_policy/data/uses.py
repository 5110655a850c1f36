"""What can be done with a file of demonstrations: train, replay, evaluate; and what is missing for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from isd_core.support.cli import CONFIGS, compose_config
from isd_core.support.errors import InputError
from isd_core.support.overrides import command_line
from isd_envs.env_args import spec_of_data
from isd_envs.spec import EnvSpec, observation_shapes
from isd_envs.task_configs import GYM, registered_tasks
from isd_envs.tasks import GYM_OF_ROBOMIMIC, GYMNASIUM, OWN, TASKS, task_named
from isd_policy.data.reader import Description


@dataclass(frozen=True)
class Use:
    """One use. missing: what keeps it from being made of the file; empty where nothing does. note: how it is made."""

    name: str
    missing: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name}: no, {self.missing}" if self.missing else f"{self.name}: yes, {self.note}"


def uses(described: Description) -> list[Use]:
    """Training, replaying and evaluating, in this order."""
    tasks = [name for name, missing in fits(described) if not missing]
    return [_training(described, tasks), _replaying(described), _evaluating(described, tasks)]


def _training(described: Description, tasks: list[str]) -> Use:
    if not described.observations:
        hint = "isd_envs.observe makes observations of its states" if described.states else "there is nothing to see"
        return Use("train", f"it has no observations: {hint}")
    if not described.actions:
        return Use("train", "it has no actions")
    return Use("train", "", " or ".join(f"task={name}" for name in [*tasks[:3], OWN]))


def _replaying(described: Description) -> Use:
    spec, why = _simulated(described)
    if why:
        return Use("replay", why)
    if isinstance(spec, EnvSpec) and not described.states:
        return Use("replay", "it holds no states of the simulator (data/<demonstration>/states)")
    return Use("replay", "", command_line("isd_envs.replay", data=described.path))


def _evaluating(described: Description, tasks: list[str]) -> Use:
    _, why = _simulated(described)
    if why:
        return Use("evaluate", f"{why}; held-out episodes judge a policy of task={OWN}")
    if not tasks:
        reasons = "; ".join(f"task={name}: {missing}" for name, missing in fits(described))
        return Use("evaluate", reasons or "no task has its environment")
    return Use("evaluate", "", f"in the simulator, after a training with task={tasks[0]}")


def _simulated(described: Description) -> tuple[Any, str]:
    """The file's environment, and why it cannot be simulated here."""
    if described.env_args is None:
        return None, "it names no environment"
    try:
        return spec_of_data(described.env_args), ""
    except InputError as error:
        return None, str(error).rstrip(".")


def next_training(described: Description, data: Any) -> str:
    """The command that trains on a store of the file."""
    fitting = [name for name, missing in fits(described) if not missing]
    words = (fitting[0] if fitting else OWN).split()
    shown = command_line("isd_policy.train", task=words[0], data=data)
    return " ".join([shown, *words[1:]])


def fits(described: Description) -> Iterator[tuple[str, str]]:
    """(task, what is missing for it) for each task config of the file's environment; an empty text where it fits."""
    if described.env_args is not None and described.env_args.get("type") in (GYMNASIUM, GYM_OF_ROBOMIMIC):
        name = described.env_args["env_name"]
        task = name if name in registered_tasks() else f"{GYM} task.id={name}"
        yield task, _differences(described, list(described.observations))
        return
    for path in sorted((CONFIGS / "task").glob("[!.]*.yaml")):
        if path.stem in (OWN, GYM) or described.env_args is None:
            continue
        task = compose_config("policy_train", [f"task={path.stem}", "data=FILE"])["task"]
        if task.name not in TASKS or task_named(task.name).data_name != described.env_args["env_name"]:
            continue
        absent = [key for key in task.observation_keys if key not in described.observations]
        yield path.stem, f"no {', '.join(absent)}" if absent else _differences(described, list(task.observation_keys))


def _differences(described: Description, keys: list[str]) -> str:
    """A size that the simulator would not give; empty where there is none."""
    assert described.env_args is not None
    shapes = {key: described.observations[key] for key in keys}
    try:
        spec = spec_of_data(described.env_args)
        offered = observation_shapes(spec.with_pictures({k: shape for k, shape in shapes.items() if len(shape) == 3}))
    except InputError as error:
        return str(error)
    for key, shape in shapes.items():
        if offered.get(key) != tuple(shape):
            return f"{key} is {list(shape)} in the file and {offered.get(key)} in the simulator"
    return ""
