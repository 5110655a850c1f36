"""The environment that belongs to a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from isd_core.support.errors import InputError
from isd_envs.engines.gym.spec import FunctionSpec, spec_of_factory
from isd_envs.env_args import spec_of_data
from isd_envs.spec import Spec
from isd_envs.task_configs import spec_of_task
from isd_envs.tasks import OWN
from isd_policy.build import schema_of
from isd_policy.observations import ObservationSchema


def environment_of(config: Mapping[str, Any], engine: str = "compiled", mode: str = "exact") -> Spec:
    """The environment of a policy's task, in the mode of its actions and with the pictures it sees.

    How a robot is controlled, its demonstrations say; an environment of gymnasium is what the task's config says.
    engine, mode: of robosuite's tasks.
    """
    task, env_args = config["task"], config["schema"]["env_args"]
    if task["name"] == OWN and env_args is None:
        raise InputError(
            "The policy's demonstrations name no environment (task=own), so there is nothing to roll it out in. Give "
            "isd_policy.evaluate an env=, or run it on the robot (isd_policy.deploy)."
        )
    spec = spec_of_data(env_args, engine, mode) if task["name"] == OWN else spec_of_task(task, env_args, engine, mode)
    if (action_mode := config["actions"]["action_mode"]) is not None:
        spec = spec.with_action_mode(action_mode)
    return seen_by(spec, schema_of(config))


def environment_of_factory(
    config: Mapping[str, Any], factory: Callable[[], Any] | FunctionSpec, max_steps: int | None = None
) -> Spec:
    """The environment of a user's function, with the pictures that the policy of a config sees.

    factory: makes a gymnasium environment at each call; or what `spec_of_factory` made of it, which can also say
    what success is. max_steps: the cap on an episode, where the environment has none.
    """
    spec = factory if isinstance(factory, FunctionSpec) else spec_of_factory(factory, max_steps=max_steps)
    return seen_by(spec, schema_of(config))


def seen_by(spec: Spec, schema: ObservationSchema) -> Spec:
    """An environment with the pictures of a schema among its observations."""
    return spec.with_pictures({key: schema.shapes[key] for key in schema.pictures})
