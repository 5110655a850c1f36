"""Push-T behind the engine interface: gym-pusht's physics, with recorded states restored as they were recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_envs.engines.engine import NON_FINITE, Chunk, Observation, State, check_actions, leading_finite
from isd_envs.engines.pusht.observations import observe
from isd_envs.engines.pusht.spec import PushTSpec
from isd_envs.isolation import kept_environment, no_warnings

STATE_SIZE = 5


@cache
def _world() -> Any:
    """gym-pusht's environment class, with a reset of our own. Imported at the first use."""
    try:
        with kept_environment(), no_warnings():
            os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # pygame greets on standard output otherwise
            from gym_pusht.envs.pusht import PushTEnv, pymunk_to_shapely
            from shapely.affinity import affine_transform
    except ImportError as error:
        raise InputError(f"task=pusht needs the package gym-pusht ({error}): pip install 'isd-flow[pusht]'.") from error

    class World(PushTEnv):
        def _set_state(self, state: np.ndarray) -> None:
            """Keeps the pose that a reset draws. gym-pusht sets position before angle, and turning moves the block."""
            self.agent.position = list(state[:2])
            self.block.position = list(state[2:4])
            self.block.angle = state[4]
            self.drawn = self.pose()

        def _get_coverage(self) -> float:
            """gym-pusht's number; the goal's shape is made once, and the block's by moving it."""
            if not hasattr(self, "_goal"):
                self._goal = pymunk_to_shapely(self.get_goal_pose_body(self.goal_pose), self.block.shapes)
                self._still = affine_transform(self._goal, _place(self.goal_pose, inverse=True))
            block = affine_transform(self._still, _place((*self.block.position, self.block.angle)))
            coverage: float = self._goal.intersection(block).area / self._goal.area
            return coverage

        def pose(self) -> np.ndarray:
            return np.array([*self.agent.position, *self.block.position, self.block.angle])

        def place(self, state: np.ndarray) -> None:
            """A new world in the given state: the angle first, so that turning does not move the block."""
            self._setup()
            self.agent.position = state[:2].tolist()
            self.block.angle = float(state[4])
            self.block.position = state[2:4].tolist()
            self.space.step(self.dt)

    return World


def _place(pose: Sequence[float], inverse: bool = False) -> list[float]:
    """Shapely's six numbers of the turn and the move to a pose (x, y, angle), or of what undoes it."""
    x, y, angle = pose
    c, s = np.cos(angle), np.sin(angle)
    return [c, s, -s, c, -c * x - s * y, s * x - c * y] if inverse else [c, -s, s, c, x, y]


class PushTEngine:
    """Calls gym-pusht's step once for each action. Actions beyond the world are clipped to it.

    The score of a step is min(coverage / .95, 1); coverage above .95 is success and ends the episode. Starts are those
    that gym-pusht draws from the seed.
    """

    name = "pymunk"

    def __init__(self, spec: PushTSpec) -> None:
        self.spec = spec
        self.world = _world()(obs_type="state", render_mode="rgb_array")
        self._start: dict[str, Any] = {}

    def reset(self, seed: int) -> Observation:
        self.world.reset(seed=seed)
        return self.reset_to({"task": self.spec.task, "state": self.world.drawn.tolist()})

    def reset_to(self, start: State) -> Observation:
        """Raises `InputError` for a start of another task."""
        self._start = check_start(start)
        self.world.place(np.array(self._start["state"]))
        return observe(self.world.pose())

    def get_start(self) -> dict[str, Any]:
        return dict(self._start)

    def run(self, actions: np.ndarray, until_success: bool = True) -> Chunk:
        actions = check_actions(actions, 2)
        usable = leading_finite(actions)
        fault = NON_FINITE if usable < len(actions) else None
        states, success, score = [], [], []
        for action in np.clip(actions[:usable], *self.spec.action_range):
            _, reward, done, _, _ = self.world.step(action)
            states.append(self.world.pose())
            success.append(bool(done))
            score.append(float(reward))
            if until_success and success[-1]:
                fault = None
                break
        observations = observe(np.array(states).reshape(-1, STATE_SIZE))
        return Chunk(observations, np.array(success, bool), fault, np.array(score))

    def frame(self, width: int, height: int, camera: str) -> np.ndarray:
        picture: np.ndarray = self.world._get_img(self.world._draw(), width, height)
        return picture

    def close(self) -> None:
        self.world.close()


def check_start(start: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `start`; raises `InputError` unless it is {task: pusht, state: five finite numbers}."""
    if start.get("task", "pusht") != "pusht":
        raise InputError(f"The start belongs to the task {start['task']!r}, but the environment is 'pusht'.")
    state = np.asarray(start.get("state", ()), np.float64)
    if state.shape != (STATE_SIZE,) or not np.isfinite(state).all():
        raise InputError(
            f"The start's `state` has shape {state.shape}; Push-T needs {STATE_SIZE} finite numbers: agent x, y, block "
            "x, y, angle."
        )
    return {"task": "pusht", "state": state.tolist()}
