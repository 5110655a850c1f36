"""Small environments: a point that is to reach a goal in the plane, plain, with pictures, and with faults."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

import isd_envs  # noqa: F401 (declares the role)
from isd_core.support.registry import register

LIMIT = 30


class Reach(gymnasium.Env):
    """Observation: point and goal [4]. Action: a displacement [2], at most 1 of each. Success within `radius`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    max_episode_steps = LIMIT

    def __init__(self, render_mode: str | None = None, radius: float = 0.5, border: float = 100.0) -> None:
        self.render_mode, self.radius, self.border = render_mode, radius, border
        self.observation_space: Any = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space: Any = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.point, self.goal = self.np_random.uniform(-5, 5, (2, 2))
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        self.point = self.point + action
        distance = float(np.linalg.norm(self.point - self.goal))
        success, lost = distance < self.radius, bool(np.abs(self.point).max() > self.border)
        info = {"success": success, "closeness": float(np.exp(-distance))}
        return self.observe(), -distance, success or lost, False, info

    def observe(self) -> Any:
        return np.concatenate([self.point, self.goal]).astype(np.float32)

    def render(self) -> np.ndarray:
        picture = np.zeros((16, 16, 3), np.uint8)
        for channel, place in enumerate((self.point, self.goal)):
            row, column = np.clip(place + 8, 0, 15).astype(int)
            picture[row, column, channel] = 255
        return picture


class PictureReach(Reach):
    """Observation: a picture, and in a `Dict` of its own the point; the goal is seen on the picture alone."""

    def __init__(self, render_mode: str | None = None, radius: float = 0.5) -> None:
        super().__init__(render_mode, radius)
        point = spaces.Box(-np.inf, np.inf, (1, 2), np.float64)
        picture = spaces.Box(0, 255, (16, 16, 3), np.uint8)
        robot = spaces.Dict({"point": point, "mode": spaces.Discrete(3)})
        self.observation_space = spaces.Dict({"camera": picture, "robot": robot})

    def observe(self) -> Any:
        return {"camera": self.render(), "robot": {"point": self.point[None], "mode": 0}}


class Unseeded(Reach):
    """Draws its starts from a generator of its own."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        return super().reset(seed=None)


class NoisySteps(Reach):
    """Starts as its seed says, and steps by chance."""

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        self.point = self.point + np.random.default_rng().normal(size=2)
        return super().step(action)


class Constant(Reach):
    """Always starts in one place."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=0)
        return self.observe(), {}


class Silent(Reach):
    """Says nothing of success."""

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        return *super().step(action)[:4], {"distance": 1.0}


class AtTheEnd(Reach):
    """Says it in the last step alone."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        self.steps = 0
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        observation, reward, _, _, info = super().step(action)
        self.steps += 1
        over = self.steps == 10
        return observation, reward, False, over, {"is_success": info["success"]} if over else {}


class Diverging(Reach):
    """Its observation is no number any more from the third step on."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        self.steps = 0
        return super().reset(seed=seed)

    def observe(self) -> Any:
        self.steps += 1
        return super().observe() * (np.nan if self.steps > 3 else 1)


for _cls in (Reach, PictureReach, Unseeded, NoisySteps, Constant, Silent, AtTheEnd, Diverging):
    gymnasium.register(f"toys/{_cls.__name__}-v0", entry_point=_cls, max_episode_steps=LIMIT)
register("task", "toy_reach")(Reach)
register("task", "toy_picture_reach")(PictureReach)


def towards_goal(state: np.ndarray) -> np.ndarray:
    """The action [2] that succeeds from an observation [4] of `Reach`."""
    return np.clip(state[2:] - state[:2], -1, 1)
