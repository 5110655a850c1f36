"""Builds the engine of a spec, and decides which one really steps it.

The engines are imported where they are built: each brings a simulator along.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from isd_envs.engines.engine import Engine, RobotEngine
from isd_envs.notes import say
from isd_envs.spec import EnvSpec, Spec


def make_engine(spec: Spec) -> Engine:
    """Builds the engine of a spec; see `resolve`."""
    if isinstance(spec, EnvSpec):
        return make_robot_engine(spec)
    from isd_envs.engines.gym.spec import GymSpec

    if isinstance(spec, GymSpec):
        from isd_envs.engines.gym.engine import GymEngine

        return GymEngine(spec)
    from isd_envs.engines.pusht.engine import PushTEngine
    from isd_envs.engines.pusht.spec import PushTSpec

    return PushTEngine(PushTSpec(**spec.to_dict()))


def make_robot_engine(spec: EnvSpec) -> RobotEngine:
    """Builds the engine of a robosuite task's spec."""
    spec = resolve(spec)
    if spec.engine == "compiled":
        from isd_envs.engines.compiled.engine import CompiledEngine

        return CompiledEngine(spec)
    from isd_envs.engines.robosuite_engine import RobosuiteEngine

    return RobosuiteEngine(spec)


S = TypeVar("S", bound=Spec)

_resolving = threading.Lock()
"""`lru_cache` alone lets two threads run the self-check at the same time: it guards its table, not the call."""


def resolve(spec: S) -> S:
    """The spec with the engine that will really step it.

    Where the compiled engine does not support the settings, or its self-check against robosuite fails on this
    machine, robosuite's own step takes its place, and a line on standard error says why. An environment of gymnasium is
    looked at: `InputError` where it cannot be rolled out.
    """
    from isd_envs.engines.gym.spec import GymSpec

    if isinstance(spec, GymSpec):
        spec.check()
    if not isinstance(spec, EnvSpec) or spec.engine == "robosuite":
        return spec
    with _resolving:
        return replace(spec, engine=_resolved_engine(spec.physics))


@lru_cache(maxsize=64)
def _resolved_engine(spec: EnvSpec) -> str:
    from isd_envs.engines.compiled import parity
    from isd_envs.engines.compiled.arms import UnsupportedError

    try:
        verdict = parity.check(spec)
    except UnsupportedError as error:
        reason = f"the compiled engine does not support these settings ({error})"
    else:
        if spec.mode == "exact" and verdict.usable and not verdict.equal:
            say(
                f"Note: on this machine the exact mode is not bit-equal to robosuite; positions differ by up to "
                f"{verdict.difference:.1e} after {parity.STEPS} steps."
            )
        if verdict.usable:
            return spec.engine
        reason = f"the compiled engine's self-check failed on this machine (difference {verdict.difference:.1e})"
    say(f"Note: {reason}; robosuite's own step is used for {spec.definition.title}.")
    return "robosuite"
