"""The environment that belongs to a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs.env_args import spec_of_data
from envs.spec import Spec
from isd_core.support.errors import InputError
from isd_policy.build import schema_of


def environment_of(config: Mapping[str, Any], engine: str = "compiled", mode: str = "exact") -> Spec:
    """The environment that a policy's demonstrations name, in the mode of its actions and with the pictures it sees.

    engine, mode: of robosuite's tasks.
    """
    if config["schema"]["env_args"] is None:
        raise InputError(
            "The policy's demonstrations name no environment (task=own), so there is nothing to roll it out in. Give "
            "isd_policy.evaluate an env=, or run it on the robot (isd_policy.deploy)."
        )
    spec, schema = spec_of_data(config["schema"]["env_args"], engine, mode), schema_of(config)
    if (action_mode := config["actions"]["action_mode"]) is not None:
        spec = spec.with_action_mode(action_mode)
    return spec.with_pictures({key: schema.shapes[key] for key in schema.pictures})
