"""The interface that every simulation engine offers, and the function that builds one from a spec."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from envs.spec import EnvSpec

Observation = dict[str, np.ndarray]
"""Robomimic's keys -> float64 vectors; in a `Chunk` each has the step as its first axis."""

State = Mapping[str, Any]
"""A start or snapshot: JSON-able numbers and lists."""


NON_FINITE = "an action holds NaN or infinity"
UNSTABLE = "the simulation diverged"


class SimulationError(Exception):
    """The episode cannot go on: an action that is no number, or a simulation that MuJoCo reports as unstable."""


@dataclass(frozen=True)
class Chunk:
    """What happened while the engine executed n actions; k <= n steps were made.

    observations: key -> [k, d] after each step. success: [k] bool. fault: why the chunk ended early, or None.
    """

    observations: Observation
    success: np.ndarray
    fault: str | None = None

    @property
    def steps(self) -> int:
        return len(self.success)


class Engine(Protocol):
    """Steps one environment. An engine belongs to one thread at a time."""

    spec: EnvSpec
    name: str

    def reset(self, seed: int) -> Observation:
        """Draws a new start from `seed` (the same as robosuite's hard reset draws) and returns its observation."""

    def reset_to(self, start: State) -> Observation:
        """Goes to a start that `get_start` returned; what follows is bit-equal to what followed there."""

    def get_start(self) -> dict[str, Any]:
        """The start of the present episode, JSON-able, with Lift's cube size."""

    def run(self, actions: np.ndarray, until_success: bool = True) -> Chunk:
        """Executes actions [n, Da]; stops after the first successful step where `until_success`."""

    def state(self) -> np.ndarray:
        """robomimic's state of the simulation: time (s), qpos, qvel."""

    def model_xml(self) -> str:
        """The MuJoCo model of the present episode."""

    def frame(self, width: int, height: int, camera: str) -> np.ndarray:
        """A picture, uint8 [height, width, 3]. Raises `InputError` where rendering does not work."""

    def close(self) -> None:
        """Frees what the engine holds."""


def check_actions(actions: np.ndarray, size: int) -> np.ndarray:
    """Actions as contiguous float64 [n, size]; raises `ValueError` for another shape. Values are not checked here."""
    array = np.ascontiguousarray(actions, np.float64)
    if array.ndim != 2 or array.shape[1] != size:
        raise ValueError(f"actions have shape {np.shape(actions)}; expected [n, {size}]")
    return array


def leading_finite(actions: np.ndarray) -> int:
    """How many actions come before the first one with a NaN or an infinity."""
    bad = np.flatnonzero(~np.isfinite(actions).all(axis=1))
    return int(bad[0]) if len(bad) else len(actions)


def make_engine(spec: EnvSpec) -> Engine:
    """Builds the engine of a spec; see `resolve`."""
    spec = resolve(spec)
    if spec.engine == "compiled":
        from envs.compiled.engine import CompiledEngine

        return CompiledEngine(spec)
    from envs.robosuite_engine import RobosuiteEngine

    return RobosuiteEngine(spec)


_resolving = threading.Lock()


def resolve(spec: EnvSpec) -> EnvSpec:
    """The spec with the engine that will really step it.

    Where the compiled engine does not support the settings, or its self-check against robosuite fails on this
    machine, robosuite's own step takes its place, and a line on standard error says why.
    """
    if spec.engine == "robosuite":
        return spec
    with _resolving:
        return _resolve(spec)


@lru_cache(maxsize=64)
def _resolve(spec: EnvSpec) -> EnvSpec:
    from envs.compiled import parity
    from envs.compiled.arms import UnsupportedError

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
            return spec
        reason = f"the compiled engine's self-check failed on this machine (difference {verdict.difference:.1e})"
    say(f"Note: {reason}; robosuite's own step is used for {spec.definition.title}.")
    return replace(spec, engine="robosuite")


def say(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr, flush=True)
