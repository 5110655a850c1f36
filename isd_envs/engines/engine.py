"""The interface that every simulation engine offers, and what all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from isd_envs.spec import Spec

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

    observations: key -> [k, d] after each step; pictures among them only of the last steps, as many as were asked for.
    success: [k] bool. fault: why the chunk ended early, or None. score: [k] in [0, 1], for a graded task. ended: the
    environment itself ended the episode, with success or without; it cannot go on.
    """

    observations: Observation
    success: np.ndarray
    fault: str | None = None
    score: np.ndarray | None = None
    ended: bool = False

    @property
    def steps(self) -> int:
        return len(self.success)

    @property
    def best(self) -> float:
        """The largest score of its steps; success counts as 1 and failure as 0 where the task is not graded."""
        values = self.success if self.score is None else self.score
        return float(values.max()) if len(values) else 0.0


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks that followed each other, as one."""
    parts = [chunk.observations for chunk in chunks]
    graded = all(chunk.score is not None for chunk in chunks)
    return Chunk(
        observations={key: np.concatenate([part[key] for part in parts]) for key in parts[0]},
        success=np.concatenate([chunk.success for chunk in chunks]),
        fault=chunks[-1].fault,
        score=np.concatenate([chunk.score for chunk in chunks]) if graded else None,
        ended=chunks[-1].ended,
    )


class Engine(Protocol):
    """Steps one environment. An engine belongs to one thread at a time."""

    spec: Any
    name: str

    def reset(self, seed: int) -> Observation:
        """Draws a new start from `seed` (the same as robosuite's hard reset draws) and returns its observation."""

    def reset_to(self, start: State) -> Observation:
        """Goes to a start that `get_start` returned; what follows is bit-equal to what followed there."""

    def get_start(self) -> dict[str, Any]:
        """The start of the present episode, JSON-able, with Lift's cube size."""

    def run(self, actions: np.ndarray, until_success: bool = True) -> Chunk:
        """Executes actions [n, Da]; stops after the first successful step where `until_success`."""

    def frame(self, width: int, height: int, camera: str) -> np.ndarray:
        """A picture, uint8 [height, width, 3]. Raises `InputError` where rendering does not work."""

    def close(self) -> None:
        """Frees what the engine holds."""


class RobotEngine(Engine, Protocol):
    """An engine of a robosuite task, whose episodes can be written into robomimic's files."""

    @property
    def model(self) -> Any:
        """The `mujoco.MjModel` of the present episode."""

    @property
    def data(self) -> Any:
        """Its `mujoco.MjData`."""

    def state(self) -> np.ndarray:
        """robomimic's state of the simulation: time (s), qpos, qvel."""

    def model_xml(self) -> str:
        """The MuJoCo model of the present episode."""


def show(engine: RobotEngine, state: np.ndarray) -> None:
    """Puts a recorded state [1 + nq + nv] into the engine's data for drawing; the episode cannot go on from it."""
    import mujoco

    model, data = engine.model, engine.data
    data.qpos[:], data.qvel[:] = state[1 : 1 + model.nq], state[1 + model.nq :]
    mujoco.mj_forward(model, data)


def pictures(engine: Engine, spec: Spec) -> Observation:
    """The pictures that the engine draws for the observations of `spec`, key -> uint8 [H, W, 3], of this moment."""
    shapes = spec.picture_shapes
    return {key: engine.frame(shapes[key][1], shapes[key][0], camera) for key, camera in spec.picture_cameras.items()}


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
