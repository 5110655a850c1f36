"""What the tasks of other packages share."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, ClassVar

import gymnasium
import numpy as np

from isd_core.support.errors import InputError

PICTURE = (480, 480)
"""Width and height of what `render` draws, in pixels."""


class SuiteTask(gymnasium.Env[np.ndarray, np.ndarray]):
    """An environment of another package, which is imported when this is made. Drawn as `rgb_array`.

    title: what the package calls the task; max_episode_steps: the cap on an episode's steps; camera: of the model.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]  # gymnasium's is none
    title: ClassVar[str]
    max_episode_steps: ClassVar[int]
    camera: ClassVar[str]

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.inner = self.make_inner()
        self.observation_space = self.inner.observation_space
        self.action_space = self.inner.action_space

    def make_inner(self) -> Any:
        """The package's environment; `InputError` where the package is not installed."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.inner.reset(seed=seed)
        return observation, info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.inner.step(action)
        return observation, float(reward), terminated, truncated, info

    def render(self) -> np.ndarray:
        """uint8 [480, 480, 3]."""
        import mujoco

        from isd_envs.engines import render

        inner = self.inner.unwrapped
        return render.picture(inner.model, inner.data, *PICTURE, self.camera, mujoco.MjvOption())

    def close(self) -> None:
        self.inner.close()


def import_suite(package: str, install: str) -> ModuleType:
    """The package of a suite. install: the command that installs it. Raises `InputError` where it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"{package} cannot be imported ({error}). Install it: {install}") from error
