"""gymnasium's face of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.engine import Observation, SimulationError, make_engine
from envs.spec import EnvSpec


class SimulatedTask(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A robomimic task. Registered as `isd/Lift-v0` and so on; settings are the fields of `EnvSpec`.

    Observation: robomimic's low-dimensional keys, float64. Action: [-1, 1]^(7 robots) (an absolute goal is unbounded).
    Reward 1 at a successful step, which also terminates; `info["success"]` says so. A reset with a seed draws the
    start that robosuite draws from that seed; `reset(options={"state": start})` goes to a start of `get_start`.
    For each of `cameras` the observation also holds `<camera>_image`, uint8 [height, width, 3].
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (gymnasium declares it so)

    def __init__(
        self,
        task: str = "lift",
        render_mode: str | None = None,
        camera: str = "agentview",
        width: int = 256,
        height: int = 256,
        cameras: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'")
        self.spec_of_simulation = EnvSpec.from_dict({"task": task} | settings)
        self.render_mode = render_mode
        self._view = (width, height, camera)
        self.engine = make_engine(self.spec_of_simulation)
        sizes = self.spec_of_simulation.definition.observation_sizes
        self._cameras = tuple(cameras)
        boxes: dict[str, spaces.Space[Any]] = {
            key: spaces.Box(-np.inf, np.inf, (size,), np.float64) for key, size in sizes.items()
        }
        boxes |= {f"{name}_image": spaces.Box(0, 255, (height, width, 3), np.uint8) for name in self._cameras}
        self.observation_space = cast(Any, spaces.Dict(boxes))
        bound = 1.0 if self.spec_of_simulation.goal == "delta" else np.inf
        size = self.spec_of_simulation.definition.action_size
        self.action_space = spaces.Box(-bound, bound, (size,), np.float32)

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
        return self._with_pictures(observation), {"success": False}

    def _with_pictures(self, observation: Observation) -> Observation:
        width, height, _ = self._view
        return observation | {f"{name}_image": self.engine.frame(width, height, name) for name in self._cameras}

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
        return self._with_pictures(observation), float(success), success, False, {"success": success}

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
