"""Any gymnasium environment behind the engine interface."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_envs.engines.engine import NON_FINITE, Chunk, Observation, State, check_actions, leading_finite
from isd_envs.engines.gym.probe import check_seed
from isd_envs.engines.gym.spaces import action_box, observed
from isd_envs.engines.gym.spec import FunctionSpec, GymSpec

NOT_FINITE = "an observation holds NaN or infinity"


class GymEngine:
    """Calls the environment's step once for each action. Actions beyond its `Box` are clipped to it.

    An episode ends with its first success, or where the environment terminates or truncates it, which without success
    is a failure. A start is the seed of the reset; of seeds from 2^31 on the remainder is taken.
    """

    name = "gymnasium"

    def __init__(self, spec: GymSpec) -> None:
        self.spec = spec
        self.env = spec.source.make()
        self._observed = observed(self.env.observation_space, spec.observations, spec.task)
        self._box = action_box(self.env.action_space, spec.task)
        self._seed = 0

    def reset(self, seed: int) -> Observation:
        return self.reset_to({"task": self.spec.task, "seed": seed})

    def reset_to(self, start: State) -> Observation:
        """Raises `InputError` for a start of another environment."""
        if start.get("task", self.spec.task) != self.spec.task:
            raise InputError(f"The start belongs to {start['task']!r}, but the environment is {self.spec.task!r}.")
        self._seed = check_seed(start.get("seed"))
        observation, _ = self.env.reset(seed=self._seed)
        return self._observed.read(observation)

    def get_start(self) -> dict[str, Any]:
        return {"task": self.spec.task, "seed": self._seed}

    def run(self, actions: np.ndarray, until_success: bool = True) -> Chunk:
        actions = check_actions(actions, int(np.prod(self._box.shape)))
        usable = leading_finite(actions)
        fault = NON_FINITE if usable < len(actions) else None
        rows: list[Observation] = []
        success: list[bool] = []
        score: list[float] = []
        ended = False
        for action in actions[:usable]:
            whole = np.clip(action.reshape(self._box.shape), self._box.low, self._box.high).astype(self._box.dtype)
            observation, reward, terminated, truncated, info = self.env.step(whole)
            row = self._observed.read(observation)
            if not all(np.isfinite(value).all() for value in row.values()):
                fault = NOT_FINITE
                break
            rows.append(row)
            success.append(self._succeeded(observation, float(reward), info))
            if self.spec.score is not None:
                score.append(self._score(self.spec.score, info))
            ended = bool(terminated or truncated)
            if ended or (until_success and success[-1]):
                fault = None
                break
        graded = None if self.spec.score is None else np.array(score)
        return Chunk(self._observed.stack(rows), np.array(success, bool), fault, graded, ended)

    def _succeeded(self, observation: Any, reward: float, info: Mapping[str, Any]) -> bool:
        if isinstance(self.spec, FunctionSpec) and self.spec.succeeded is not None:
            return bool(self.spec.succeeded(observation, reward, info))
        return self.spec.success.holds(reward, info)

    def _score(self, key: str, info: Mapping[str, Any]) -> float:
        value = info.get(key)
        if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
            raise InputError(
                f"{self.spec.task}: info[{key!r}] is {value!r}; a score is a number from 0 to 1. Leave "
                "task.score null where there is none."
            )
        return float(value)

    def frame(self, width: int, height: int, camera: str) -> np.ndarray:
        """What the environment's `render` gives, resized. camera: it has its own view."""
        if self.env.render_mode != "rgb_array":
            raise InputError(
                f"{self.spec.task} cannot be drawn: its render_mode is {self.env.render_mode!r}, and rgb_array is "
                f"needed (it offers {', '.join((self.env.metadata or {}).get('render_modes') or []) or 'none'})."
            )
        picture = self.env.render()
        if not isinstance(picture, np.ndarray) or picture.ndim != 3:
            raise InputError(f"{self.spec.task} drew {type(picture).__name__}; expected a picture [H, W, 3].")
        if picture.shape[:2] == (height, width):
            return picture.astype(np.uint8, copy=False)
        if importlib.util.find_spec("PIL") is None:
            raise InputError("Pictures of another size need the package Pillow: pip install pillow.")
        from PIL import Image

        return np.asarray(Image.fromarray(picture.astype(np.uint8)).resize((width, height)))

    def close(self) -> None:
        self.env.close()
