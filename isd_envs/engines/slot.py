"""What a worker does with its engine: start an episode, run a chunk, demonstrate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_envs.demonstrations.experts import make_expert
from isd_envs.demonstrations.object_layouts import remembering
from isd_envs.engines.engine import Chunk, Engine, Observation, RobotEngine, State, joined, pictures, show
from isd_envs.engines.factory import make_engine
from isd_envs.spec import EnvSpec, Spec


@dataclass(frozen=True)
class ResetResult:
    """The first observation of an episode and its start."""

    observation: Observation
    start: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class ChunkResult:
    """A chunk and the seconds that the engine spent on it."""

    chunk: Chunk
    seconds: float


@dataclass(frozen=True)
class Demonstration:
    """One expert episode of T steps. observations: key -> [T + 1, ...]; states [T + 1, 1 + nq + nv]; actions [T, Da].

    intended: what the expert meant in the place of the actions, which carry noise, [T, Da]; None where they carry none.
    Where the start is all that is needed to repeat it, states are [T + 1, 0] and model_xml is empty.
    """

    index: int
    success: bool
    observations: Observation
    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    model_xml: str
    start: dict[str, Any]
    intended: np.ndarray | None = None


@dataclass(frozen=True)
class Repeated:
    """An episode executed again from recorded actions. score: the best of its steps."""

    success: bool
    score: float
    steps: int


class EnvSlot:
    """One place for an episode in a worker. The engine is built at the first use."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = make_engine(self.spec)
        return self._engine

    def reset(self, start: int | State) -> ResetResult:
        """Starts an episode from a seed, or from a start that an engine returned."""
        began = time.perf_counter()
        observation = self.engine.reset(start) if isinstance(start, int) else self.engine.reset_to(start)
        observation = observation | pictures(self.engine, self.spec)
        return ResetResult(observation, self.engine.get_start(), time.perf_counter() - began)

    def run_chunk(self, actions: np.ndarray, drawn: int = 1) -> ChunkResult:
        """Runs a chunk [n, Da]; pictures among the observations are those of its last `drawn` steps."""
        began = time.perf_counter()
        chunk = self._run_and_draw(actions, drawn) if self.spec.picture_cameras else self.engine.run(actions)
        return ChunkResult(_without_early_pictures(chunk, drawn), time.perf_counter() - began)

    def _run_and_draw(self, actions: np.ndarray, drawn: int) -> Chunk:
        """All but the last steps in one go, and those one by one, each followed by its pictures.

        An episode that ends earlier needs none.
        """
        head = max(0, len(actions) - drawn)
        chunks, frames = [self.engine.run(actions[:head])], []
        for action in actions[head:]:
            if chunks[-1].fault is not None or chunks[-1].ended or chunks[-1].success.any():
                break
            chunks.append(self.engine.run(action[None]))
            frames.append(pictures(self.engine, self.spec))
        chunk = joined(chunks)
        stacked = {key: np.stack([frame[key] for frame in frames]) for key in (frames[0] if frames else ())}
        return replace(chunk, observations=chunk.observations | stacked)

    def repeat(self, start: State, actions: np.ndarray) -> Repeated:
        """Executes recorded actions [T, Da] from a start, up to the first success."""
        self.engine.reset_to(start)
        chunk = self.engine.run(actions)
        return Repeated(bool(chunk.success.any()), chunk.best, chunk.steps)

    def absolute_poses(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The poses [T, Da] that recorded displacements ask for (see `isd_envs.action_modes`)."""
        from isd_envs.action_modes import absolute_poses

        engine = self._robot()
        return absolute_poses(self._robot_spec(), engine.model, engine.data, states, actions)

    def draw(self, start: State, states: np.ndarray) -> Observation:
        """The pictures of recorded states [T, 1 + nq + nv]: key -> [T, H, W, 3]. start: with the model's parameters."""
        engine = self._robot()
        engine.reset_to(start)
        frames = []
        for state in states:
            show(engine, state)
            frames.append(pictures(engine, self.spec))
        return {key: np.stack([frame[key] for frame in frames]) for key in self.spec.picture_cameras}

    def observe(self, start: State, states: np.ndarray) -> Observation:
        """What is observed in recorded states [T, 1 + nq + nv] of an episode: key -> [T, ...], pictures among them.

        start: of the episode, with the model's parameters. The first step is observed as after a reset, the others as
        in the middle of an episode.
        """
        engine, nq = self._robot(), self._robot().model.nq
        rows: list[Observation] = []
        earlier: Observation | None = None
        for state in states:
            now = engine.reset_to({**start, "qpos": state[1 : 1 + nq].tolist(), "qvel": state[1 + nq :].tolist()})
            numbers = now if earlier is None else remembering(self._robot_spec().task, earlier, now)
            rows.append(numbers | pictures(engine, self.spec))
            earlier = now
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]}

    def _robot_spec(self) -> EnvSpec:
        if not isinstance(self.spec, EnvSpec):
            raise InputError(f"{self.spec.definition.title} is not one of robosuite's tasks, which this is for.")
        return self.spec

    def _robot(self) -> RobotEngine:
        self._robot_spec()
        return cast(RobotEngine, self.engine)

    def demonstrate(
        self,
        seed: int,
        index: int,
        noise: float,
        max_steps: int,
        extra_steps: int,
        options: Mapping[str, Any] | None = None,
    ) -> Demonstration:
        """Lets the scripted expert act in the episode (seed, index); `extra_steps` more after the first success.

        options: the expert's own fields.
        """
        engine = self.engine
        observation = engine.reset(seeds.derive(seed, "demonstration", index))
        start = engine.get_start()
        rng = seeds.numpy_rng(seed, "demonstration noise", index)
        expert = make_expert(self.spec.task, options or {}, noise, rng)
        observations, states = [observation], [self._state()]
        actions: list[np.ndarray] = []
        intended: list[np.ndarray] = []
        rewards: list[float] = []
        remaining = max_steps
        while remaining > 0:
            action, meant = expert.act(observations[-1])
            chunk = engine.run(action[None], until_success=False)
            if chunk.fault is not None:
                break
            actions.append(action)
            intended.append(meant)
            observations.append({key: values[0] for key, values in chunk.observations.items()})
            states.append(self._state())
            first = bool(chunk.success[0]) and not any(rewards)
            rewards.append(float(chunk.success[0]))
            remaining = min(remaining - 1, extra_steps) if first else remaining - 1
            if chunk.ended:
                break
        return Demonstration(
            index=index,
            success=any(rewards),
            observations={key: np.array([row[key] for row in observations]) for key in observations[0]},
            states=np.array(states),
            actions=np.array(actions).reshape(len(rewards), -1),
            rewards=np.array(rewards),
            model_xml=self._robot().model_xml() if isinstance(self.spec, EnvSpec) else "",
            start=start,
            intended=np.array(intended).reshape(len(rewards), -1),
        )

    def _state(self) -> np.ndarray:
        """The simulator's state for the file of demonstrations; empty where the start is all that is needed."""
        return self._robot().state() if isinstance(self.spec, EnvSpec) else np.zeros(0)

    def close(self) -> None:
        """Closes the engine, if one was built."""
        if self._engine is not None:
            self._engine.close()


def _without_early_pictures(chunk: Chunk, drawn: int) -> Chunk:
    """Pictures are the larger part of what a worker sends, and a policy sees those of the last steps alone."""
    kept = {key: values[-drawn:] if values.dtype == np.uint8 else values for key, values in chunk.observations.items()}
    return replace(chunk, observations=kept)
