"""gymnasium's face of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from isd_core.support.registry import register
from isd_envs.engines.engine import Observation, SimulationError, pictures
from isd_envs.engines.factory import make_engine
from isd_envs.env_args import spec_of_data
from isd_envs.spec import observation_shapes, spec_from_dict
from isd_envs.task_configs import ROLE
from isd_envs.tasks import TASKS


class SimulatedTask(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A task of this package. Registered as `isd/Lift-v0` and so on; settings are the fields of `EnvSpec`, for
    `isd/PushT-v0` those of `PushTSpec`. With `env_args` the settings are those of a data file instead.

    Observation: numbers under robomimic's keys (float64), and a picture (uint8 [H, W, 3]) for each of `cameras`.
    Action: [-1, 1]^(7 robots) for displacements, unbounded for poses; for Push-T a place in pixels.
    Reward: the task's score, 1 at success, which also terminates; `info["success"]` says so. A reset with a seed draws
    the start that the simulator draws from that seed; `reset(options={"state": start})` goes to a start of `get_start`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (gymnasium declares it so)

    def __init__(
        self,
        task: str = "lift",
        render_mode: str | None = None,
        camera: str = "agentview",
        width: int = 256,
        height: int = 256,
        env_args: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'")
        described = {} if env_args is None else spec_of_data(env_args).to_dict()
        self.spec_of_simulation = spec_from_dict({"task": task} | described | settings)
        self.render_mode = render_mode
        self._view = (width, height, camera)
        self.engine = make_engine(self.spec_of_simulation)
        boxes: dict[str, spaces.Space[Any]] = {
            key: spaces.Box(0, 255, shape, np.uint8)
            if key in self.spec_of_simulation.picture_shapes
            else spaces.Box(-np.inf, np.inf, shape, np.float64)
            for key, shape in observation_shapes(self.spec_of_simulation).items()
        }
        self.observation_space = cast(Any, spaces.Dict(boxes))
        low, high = (bound.astype(np.float32) for bound in self.spec_of_simulation.action_range)
        self.action_space = spaces.Box(low, high, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; without a seed the next start is drawn from the stream of the last seed."""
        super().reset(seed=seed)
        unknown = set(options or {}) - {"state"}
        if unknown:
            raise ValueError(f"unknown reset options {sorted(unknown)}; known: state")
        if options and options.get("state") is not None:
            observation = self.engine.reset_to(options["state"])
        else:
            observation = self.engine.reset(seed if seed is not None else int(self.np_random.integers(2**63 - 1)))
        return observation | pictures(self.engine, self.spec_of_simulation), {"success": False}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One control step. Raises `ValueError` for a wrong shape and `SimulationError` for NaN or instability."""
        action = np.asarray(action, np.float64)
        if action.shape != self.action_space.shape:
            raise ValueError(f"the action has shape {action.shape}; expected {self.action_space.shape}")
        chunk = self.engine.run(action[None])
        if chunk.fault is not None:
            raise SimulationError(chunk.fault)
        observation = {key: values[-1] for key, values in chunk.observations.items()}
        success = bool(chunk.success[-1])
        observation = observation | pictures(self.engine, self.spec_of_simulation)
        return observation, chunk.best, success or chunk.ended, False, {"success": success}

    def get_start(self) -> dict[str, Any]:
        """The start of this episode, for `reset(options={"state": start})`; JSON-able."""
        return self.engine.get_start()

    def render(self) -> np.ndarray | None:
        """A picture [height, width, 3] uint8 of the camera that was chosen at construction."""
        if self.render_mode is None:
            return None
        return self.engine.frame(*self._view)

    def close(self) -> None:
        """Closes the engine."""
        self.engine.close()


def _maker(task: str) -> Callable[..., SimulatedTask]:
    def make(render_mode: str | None = None, camera: str = "agentview") -> SimulatedTask:
        return SimulatedTask(task, render_mode, camera)

    return make


for _task in TASKS.values():
    register(ROLE, _task.name)(_maker(_task.name))
