"""Makes environments by name: members of the role `task`, and ids of gymnasium's registry.

A name is looked up, never imported: gymnasium's own `package:id` is refused, since names also come from data files.
What a user's command names as a package to import goes through `import_package`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from weakref import WeakSet

import gymnasium
from gymnasium.envs.registration import load_env_creator

from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES, TYPE, build, listed

ROLE = "task"
"""The role whose members are environments; `isd_envs.task_configs` declares it."""
RGB = "rgb_array"


def import_package(name: str) -> None:
    """Imports a package that registers environments. For a name that the user gave, never for one out of a file."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"The package `{name}`, which is to register environments, cannot be imported: {error}."
        ) from error


def is_registered(name: str) -> bool:
    """Whether the role `task` has a member of that name."""
    return name in ROLES[ROLE].names()


def check_name(name: str) -> None:
    """Raises `InputError` for a name that neither registry has."""
    if ":" in name:
        package, _, rest = name.partition(":")
        raise InputError(
            f"The environment `{name}` names a package to import. An environment's name is looked up, never imported: "
            f"call it `{rest}`, and import the package first (task.package={package} on a command line, `import "
            f"{package}` in a program)."
        )
    if is_registered(name) or name in gymnasium.registry:
        return
    known = [*ROLES[ROLE].names(), *gymnasium.registry]
    near = get_close_matches(name, known, n=3)
    raise InputError(
        f"There is no environment called `{name}` in gymnasium's registry ({len(gymnasium.registry)} ids), nor among "
        f"the registered tasks ({listed(ROLES[ROLE].names())})."
        + (f" Did you mean {' or '.join(near)}?" if near else "")
        + " One that a package registers is there once the package is imported: task.package=NAME on a command line, "
        "`import NAME` in a program."
    )


def make_environment(name: str, kwargs: Mapping[str, Any]) -> gymnasium.Env:
    """A new environment, which draws `rgb_array` where it can. gymnasium's limit on steps is left out.

    Raises `InputError` for an unknown name, and where the environment refuses its arguments or misses a package.
    """
    check_name(name)
    try:
        return _member(name, kwargs) if is_registered(name) else _of_gymnasium(name, kwargs)
    except InputError:
        raise
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in kwargs.items()) or "no arguments"
        raise InputError(f"{name} cannot be made with {given}: {type(error).__name__}: {error}") from error


def _member(name: str, kwargs: Mapping[str, Any]) -> gymnasium.Env:
    constructor = ROLES[ROLE].get(name).build
    takes = "render_mode" in inspect.signature(constructor).parameters
    given = {"render_mode": RGB} if takes and _draws(constructor) else {}
    environment: gymnasium.Env = build(ROLE, {TYPE: name, **kwargs}, where=f"task {name}", **given)
    return environment


def _of_gymnasium(name: str, kwargs: Mapping[str, Any]) -> gymnasium.Env:
    spec = gymnasium.registry[name]
    point = spec.entry_point
    creator = load_env_creator(point) if isinstance(point, str) else point
    given = {"render_mode": RGB} if creator is not None and _draws(creator) else {}
    return gymnasium.make(spec, max_episode_steps=-1, disable_env_checker=True, **(given | dict(kwargs)))


def _draws(creator: Callable[..., Any]) -> bool:
    """Whether the class, or the one that a function says to return, can draw into an array."""
    made = creator if isinstance(creator, type) else typing.get_type_hints(creator).get("return")
    metadata = getattr(made, "metadata", None)
    return isinstance(metadata, Mapping) and RGB in (metadata.get("render_modes") or ())


def step_limit(environment: gymnasium.Env) -> int | None:
    """Of a `TimeLimit` around the environment, or what the environment itself calls `max_episode_steps`."""
    if environment.spec is not None and environment.spec.max_episode_steps is not None:
        return int(environment.spec.max_episode_steps)
    for attribute in ("max_episode_steps", "_max_episode_steps"):
        if environment.has_wrapper_attr(attribute) and environment.get_wrapper_attr(attribute) is not None:
            return int(environment.get_wrapper_attr(attribute))
    return None


@dataclass(frozen=True)
class Named:
    """Environments by name. kwargs: as JSON, so that it can be hashed."""

    title: str
    kwargs: str

    def make(self) -> gymnasium.Env:
        return make_environment(self.title, json.loads(self.kwargs))

    def step_limit(self, environment: gymnasium.Env) -> int | None:
        """As `step_limit`; an id's limit is in the registry, for it is left out of what is made."""
        known = None if is_registered(self.title) else gymnasium.registry[self.title].max_episode_steps
        return known or step_limit(environment)


@dataclass(frozen=True)
class FromFunction:
    """Environments of a user's function, which has to make a new one each time."""

    title: str
    function: Callable[[], gymnasium.Env]
    made: WeakSet[gymnasium.Env] = field(default_factory=WeakSet, compare=False, repr=False)

    def make(self) -> gymnasium.Env:
        environment = self.function()
        if not isinstance(environment, gymnasium.Env):
            raise InputError(
                f"The function that makes environments returned {type(environment).__name__}; expected a gymnasium.Env."
            )
        if environment.unwrapped in self.made:
            raise InputError(
                "The function that makes environments returned one that it had returned before. Episodes run side by "
                "side, so it has to make a new one at each call: lambda: gymnasium.make(...)."
            )
        self.made.add(environment.unwrapped)
        return environment

    def step_limit(self, environment: gymnasium.Env) -> int | None:
        return step_limit(environment)
