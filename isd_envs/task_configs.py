"""Between a config's task and an environment: which spec a task means, and the config of a registered task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES, TYPE, declare_role, default_config
from isd_envs.engines.gym.making import ROLE, check_name, is_registered
from isd_envs.engines.gym.spec import SETTINGS, GymSpec
from isd_envs.env_args import spec_of_data
from isd_envs.spec import EnvSpec, Spec
from isd_envs.tasks import GYM_OF_ROBOMIMIC, GYMNASIUM, OWN, PUSHT, TASKS, task_of_data

GYM = "gym"
"""The task's name where its `id` says which environment is meant."""
OPEN = "???"
"""What a config writes for a field without a value, which has to be given."""


FIELDS = (*SETTINGS, "kwargs")
"""What the config of a task of gymnasium and the `env_args` of its data both hold."""


def registered_tasks() -> list[str]:
    """The names of the role `task` that have no config of their own among ours."""
    return [name for name in ROLES[ROLE].names() if name not in TASKS]


def task_config(name: str) -> dict[str, Any]:
    """The config of a registered task: the fields of `configs/task/gym.yaml`, filled from the environment.

    kwargs are its constructor's parameters with their defaults. The environment is made once, if that needs no further
    argument, to ask for its observations and its cap. Raises `InputError` for an unknown name.
    """
    kwargs = {key: value for key, value in default_config(ROLES[ROLE].get(name)).items() if key != TYPE}
    keys: Any = OPEN
    max_steps: Any = OPEN
    if OPEN not in kwargs.values():
        spec = GymSpec(name, kwargs)
        keys = list(spec.observed.shapes)
        max_steps = OPEN if spec.probe.max_steps is None else spec.probe.max_steps
    settings = {key: value for key, value in GymSpec(name).to_dict().items() if key in SETTINGS}
    return {"name": name, "kwargs": kwargs} | settings | {"max_steps": max_steps, "observation_keys": keys}


def spec_of_task(
    task: Mapping[str, Any],
    env_args: Mapping[str, Any] | None = None,
    engine: str = "compiled",
    mode: str = "exact",
) -> Spec:
    """The environment of a config's task, for data whose file says `env_args` (None where it says nothing).

    What the config says of an environment of gymnasium holds; the data may only name the same one. For the other tasks
    it is the data that say how the robot is controlled. engine, mode: of robosuite's tasks. Raises `InputError` where
    they are not of one environment.
    """
    name = str(task["name"])
    if name in TASKS:
        return _house_spec(name, env_args, engine, mode)
    asked = str(task["id"]) if name == GYM else name
    check_name(asked)
    named = None if env_args is None else env_args.get("env_name")
    if named not in (None, asked):
        raise InputError(
            f"The data are of the environment {named}, but the task is {asked}. Choose the task of the data."
        )
    settings = {key: task[key] for key in SETTINGS if key in task}
    return GymSpec(asked, task.get("kwargs") or {}, **settings)


def settings_of_data(env_args: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a config of policy_train by which a task is that of data: `task`, and for gymnasium its `id`.

    `own` where the data name no environment that can be made here.
    """
    if env_args is None:
        return {"task": OWN}
    if env_args.get("type") in (GYMNASIUM, GYM_OF_ROBOMIMIC):
        spec = spec_of_data(env_args)
        assert isinstance(spec, GymSpec)
        fields = {key: value for key, value in spec.to_dict().items() if key in FIELDS}
        chosen = {"task": spec.task} if is_registered(spec.task) else {"task": GYM, "task.id": spec.task}
        return chosen | {f"task.{key}": value for key, value in fields.items()}
    found = task_of_data(str(env_args.get("env_name")))
    return {"task": OWN if found is None else found.name}


def _house_spec(name: str, env_args: Mapping[str, Any] | None, engine: str, mode: str) -> Spec:
    if env_args is None:
        if name == PUSHT.name:
            return spec_of_data({"env_name": PUSHT.title})
        return EnvSpec(task=name, engine=engine, mode=mode)
    spec = spec_of_data(env_args, engine, mode)
    if spec.task != name:
        raise InputError(
            f"The data are of the environment {env_args.get('env_name')}, but task={name} is {TASKS[name].data_name}. "
            "Choose the task of the data, or data of the task."
        )
    return spec


declare_role(ROLE, "tasks", gymnasium.Env, given=("render_mode",), describe=task_config)
