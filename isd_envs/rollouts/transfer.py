"""A spec on its way into another process, with what that process has to import so that its name is known there too.

The message goes from a pool to its own workers, through a pipe that nobody else writes to. It is no file format.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import gymnasium

from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES
from isd_envs.engines.gym import making
from isd_envs.engines.gym.spec import FunctionSpec, GymSpec
from isd_envs.spec import Spec, spec_from_dict


def confined(spec: Spec) -> str:
    """Why the environment can be made in this process alone; empty where any process can make it."""
    if isinstance(spec, FunctionSpec):
        return "it is made by a function of this program"
    if not isinstance(spec, GymSpec):
        return ""
    constructor = _constructor(spec.task)
    if constructor is not None and (constructor.__module__ == "__main__" or "<locals>" in constructor.__qualname__):
        return f"{constructor.__qualname__} is defined in the program that runs, or inside a function"
    return ""


def packed(spec: Spec) -> dict[str, Any]:
    """The message, for a spec that is not confined to this process."""
    message: dict[str, Any] = {"spec": spec.to_dict()}
    if not isinstance(spec, GymSpec):
        return message
    constructor = _constructor(spec.task)
    message |= {"path": sys.path, "module": constructor and constructor.__module__, "registration": None}
    if not making.is_registered(spec.task):
        point = gymnasium.registry[spec.task].entry_point
        name = f"{constructor.__module__}:{constructor.__qualname__}" if constructor is not None else point
        message["registration"] = replace(gymnasium.registry[spec.task], entry_point=name, vector_entry_point=None)
    return message


def _constructor(task: str) -> Callable[..., Any] | None:
    """The class or function that a name stands for; None where gymnasium's registry holds it as text."""
    making.check_name(task)
    if making.is_registered(task):
        return ROLES[making.ROLE].get(task).build
    point = gymnasium.registry[task].entry_point
    return None if isinstance(point, str) else point


def unpacked(message: Mapping[str, Any]) -> Spec:
    """The spec of a message; what it names is registered in this process. Raises `InputError` where that fails."""
    for place in message.get("path", ()):
        if place not in sys.path:
            sys.path.append(place)
    if module := message.get("module"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(f"A simulation process cannot import {module}: {error}.") from error
    if (registration := message.get("registration")) is not None:
        gymnasium.registry.setdefault(registration.id, registration)
    return spec_from_dict(message["spec"])
