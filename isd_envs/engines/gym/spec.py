"""What defines an environment of gymnasium: its name or the function that makes it, and how it is read and judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import Any

import gymnasium
import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.fields import Count, Positive, checked
from isd_envs.engines.gym.making import FromFunction, Named, check_name
from isd_envs.engines.gym.probe import Probe, Source, info_of_an_episode, probe
from isd_envs.engines.gym.spaces import LONE, Observed, observed
from isd_envs.engines.gym.success import SuccessRule
from isd_envs.notes import say
from isd_envs.tasks import FUNCTION, GYMNASIUM, Task

Succeeded = Callable[[Any, float, Mapping[str, Any]], bool]
"""(observation, reward, info) of a step, as the environment gave them -> whether it is successful."""


@dataclass(frozen=True)
class GymTask(Task):
    """What an environment's spaces say. sizes: key -> length of a vector."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    actions: int = 0

    @property
    def gymnasium_id(self) -> str:
        return self.name

    @property
    def action_size(self) -> int:
        return self.actions

    @property
    def observation_sizes(self) -> dict[str, int]:
        return dict(self.sizes)


@dataclass(frozen=True)
class GymSpec:
    """An environment by name: a member of the role `task`, or an id of gymnasium's registry.

    kwargs: its arguments, plain JSON. observations: our key -> theirs (see `gym.spaces` beside this); empty for all.
    success: when an episode has succeeded. score: the entry of `info` that grades a step from 0 to 1, if there is one.
    max_steps: cap on an episode's steps; None is the environment's own. rate: actions per second (Hz); None is the
    environment's `render_fps`. seeded: false lets an environment pass that does not honour its seed.

    The spaces come from an environment that is made when they are first asked for, and closed again.
    """

    task: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    observations: Mapping[str, str] = field(default_factory=dict)
    success: SuccessRule = field(default_factory=SuccessRule)
    score: str | None = None
    max_steps: int | None = None
    rate: float | None = None
    seeded: bool = True
    engine: str = GYMNASIUM
    mode: str = "exact"

    def __post_init__(self) -> None:
        hints = {
            "task": str,
            "observations": dict[str, str],
            "score": str | None,
            "max_steps": Count | None,
            "rate": Positive | None,
            "seeded": bool,
        }
        for key, only in (("engine", self._only_engine), ("mode", "exact")):
            if (value := getattr(self, key)) != only:
                raise InputError(f"env.{key} is {value!r}; {self.task} has {only!r} alone.")
        for key, hint in hints.items():
            object.__setattr__(self, key, checked(getattr(self, key), hint, f"task.{key}"))
        object.__setattr__(self, "kwargs", _plain(self.kwargs))
        object.__setattr__(self, "success", SuccessRule.of(self.success))

    @property
    def _only_engine(self) -> str:
        return GYMNASIUM

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    @property
    def source(self) -> Source:
        """Makes the environments."""
        return Named(self.task, json.dumps(self.kwargs, sort_keys=True))

    @property
    def probe(self) -> Probe:
        """What the environment says of itself."""
        return probe(self.source)

    @property
    def observed(self) -> Observed:
        """How its observations are read."""
        return observed(self.probe.observation_space, self.observations, self.task)

    @property
    def definition(self) -> GymTask:
        limit = self.max_steps or self.probe.max_steps
        if limit is None:
            raise InputError(f"{self.task} does not say after how many steps an episode ends: give task.max_steps=N.")
        sizes = {key: shape[0] for key, shape in self.observed.shapes.items() if len(shape) == 1}
        actions = int(np.prod(self.probe.action_space.shape))
        return GymTask(self.task, self.task, limit, self.score is not None, sizes, actions)

    @property
    def control_freq(self) -> float:
        rate = self.rate or self.probe.rate
        if rate is None:
            raise InputError(
                f"{self.task} does not say how many actions a second it takes (metadata render_fps): give task.rate=HZ."
            )
        return float(rate)

    @property
    def action_mode(self) -> str:
        """Whatever its actions mean, they are no displacements that this package knows of."""
        return "absolute"

    @property
    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        box = self.probe.action_space
        return box.low.astype(np.float64).reshape(-1), box.high.astype(np.float64).reshape(-1)

    @property
    def picture_shapes(self) -> dict[str, tuple[int, int, int]]:
        return {key: (shape[0], shape[1], shape[2]) for key, shape in self.observed.shapes.items() if len(shape) == 3}

    @property
    def picture_cameras(self) -> dict[str, str]:
        """None: its pictures come with its observations."""
        return {}

    def with_action_mode(self, mode: str) -> GymSpec:
        if mode != self.action_mode:
            raise InputError(f"{self.task} has its own actions, no action_mode={mode}: use actions=recorded.")
        return self

    def with_pictures(self, shapes: Mapping[str, tuple[int, ...]]) -> GymSpec:
        own = self.picture_shapes
        for key, shape in shapes.items():
            if own.get(key) != tuple(shape):
                there = ", ".join(f"{known} {list(value)}" for known, value in own.items()) or "none"
                raise InputError(f"{self.task} has no picture `{key}` {list(shape)}; its pictures: {there}.")
        if set(shapes) == set(own):
            return self
        names = {key: "/".join(entry.keys) or LONE for key, entry in self.observed.entries.items()}
        return replace(self, observations={k: theirs for k, theirs in names.items() if k not in own or k in shapes})

    def check(self) -> None:
        """Whether it can be rolled out. Raises `InputError` that names what it lacks; notes go to standard error."""
        _check(self)

    @property
    def env_args(self) -> dict[str, Any]:
        """The `env_args` of a data file of this environment; what is not robomimic's are this class's fields."""
        own = self.to_dict()
        settings = {key: own[key] for key in SETTINGS}
        return {"type": GYMNASIUM, "env_name": self.task, "env_version": gymnasium.__version__} | {
            "env_kwargs": own["kwargs"],
            **settings,
        }

    @classmethod
    def from_env_args(cls, env_args: Mapping[str, Any]) -> GymSpec:
        """The environment of a data file. Its name is looked up in the registries; nothing of it is imported."""
        name = env_args.get("env_name")
        if not isinstance(name, str):
            raise InputError(f"The data file's env_args name the environment {name!r}; expected a gymnasium id.")
        check_name(name)
        settings = {key: env_args[key] for key in SETTINGS if key in env_args}
        return cls(name, env_args.get("env_kwargs") or {}, **settings)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


SETTINGS = ("observations", "success", "score", "max_steps", "rate", "seeded")
"""The fields that `env_args` hold under their own names."""


@dataclass(frozen=True)
class FunctionSpec(GymSpec):
    """An environment of a user's function; it lives in this process alone. succeeded: takes the place of `success`."""

    function: Callable[[], gymnasium.Env] = field(kw_only=True)
    succeeded: Succeeded | None = field(default=None, kw_only=True)
    engine: str = FUNCTION

    @property
    def _only_engine(self) -> str:
        return FUNCTION

    def __hash__(self) -> int:
        return hash((self.function, self.task))

    @cached_property  # one for all engines: it tells whether the function returns an environment twice
    def source(self) -> Source:
        return FromFunction(self.task, self.function)

    @property
    def env_args(self) -> dict[str, Any]:
        return super().env_args | {"type": FUNCTION}

    def to_dict(self) -> dict[str, Any]:
        """Says what the environment was; no spec can be made of it again."""
        mine = {"function", "succeeded"}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in mine}
        return values | {"kwargs": dict(self.kwargs), "success": asdict(self.success)}


def spec_of_factory(
    factory: Callable[[], gymnasium.Env],
    *,
    name: str | None = None,
    observations: Mapping[str, str] | None = None,
    success: SuccessRule | Succeeded | str | None = None,
    score: str | None = None,
    max_steps: int | None = None,
    rate: float | None = None,
    seeded: bool = True,
) -> FunctionSpec:
    """The spec of environments that a function makes, a new one at each call: `lambda: gymnasium.make("Foo-v1")`.

    name: in reports; by default the environment's id or class. success: a function (observation, reward, info) of a
    step -> bool, an entry of `info`, or a rule; the rest are fields of `GymSpec`. The environments live in this
    process.
    """
    if not callable(factory):
        raise InputError(
            f"env is a {type(factory).__name__}; expected a function that makes environments, such as "
            "lambda: gymnasium.make(...)."
        )
    rule, succeeded = SuccessRule(), None
    if isinstance(success, str):
        rule = SuccessRule(info=success)
    elif isinstance(success, SuccessRule):
        rule = success
    elif success is not None:
        succeeded = success
    return FunctionSpec(
        name or _name(factory),
        observations=observations or {},
        success=rule,
        score=score,
        max_steps=max_steps,
        rate=rate,
        seeded=seeded,
        function=factory,
        succeeded=succeeded,
    )


def _name(factory: Callable[[], gymnasium.Env]) -> str:
    """The id of what a function makes, or the name of its class."""
    environment = FromFunction("env", factory).make()
    try:
        return environment.spec.id if environment.spec is not None else type(environment.unwrapped).__name__
    finally:
        environment.close()


@lru_cache(maxsize=64)
def _check(spec: GymSpec) -> None:
    found, steps = spec.probe, spec.definition.max_steps
    if found.repeated:
        refusal = (
            f"{spec.task} does not honour its seed: after two resets with the same seed {found.repeated}. Its episodes "
            "cannot be repeated, nor compared between policies."
        )
        if spec.seeded:
            raise InputError(
                f"{refusal} Have its reset call super().reset(seed=seed) and draw from self.np_random alone, or give "
                "task.seeded=false to go on: results then depend on chance and on the number of workers."
            )
        say(f"Note: {refusal}")
    elif not found.varied:
        say(f"Note: {spec.task} starts alike whatever the seed, so all its episodes have one start.")
    asked = [] if isinstance(spec, FunctionSpec) and spec.succeeded is not None else [spec.success.keys]
    asked += [(spec.score,)] if spec.score is not None else []
    seen = found.info
    for keys in filter(None, asked):
        if not seen & set(keys):  # some environments say it at an episode's end alone
            seen |= info_of_an_episode(spec.source, found.action_space, steps)
        if not seen & set(keys):
            raise InputError(
                f"{spec.task} does not say how an episode goes: its info has no {' or '.join(map(repr, keys))} in an "
                f"episode of random actions; it has {', '.join(sorted(seen)) or 'no entries'}. Give the entry "
                "(task.success.info, task.score), what a step's reward must reach (task.success.reward), or in Python "
                "a function (spec_of_factory(..., success=...))."
            )


def _plain(kwargs: Any) -> dict[str, Any]:
    """A copy of arguments that is JSON throughout."""
    try:
        copied = json.loads(json.dumps(kwargs, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"task.kwargs are {kwargs!r}, which is no plain JSON ({error}). Objects can be given by a function alone: "
            "spec_of_factory(lambda: ...)."
        ) from error
    if not isinstance(copied, dict):
        raise InputError(f"task.kwargs are {kwargs!r}; expected arguments by name.")
    return copied
