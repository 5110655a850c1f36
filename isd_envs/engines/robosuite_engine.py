"""robosuite's own environment behind the engine interface: the reference that the compiled engine is held to."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from isd_envs.engines import simulator, starts
from isd_envs.engines.engine import NON_FINITE, UNSTABLE, Chunk, Observation, State, check_actions, leading_finite
from isd_envs.spec import EnvSpec

FATAL_WARNINGS = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


class RobosuiteEngine:
    """Calls `env.step` once for each action. Slow (6-40 ms a step) and by definition right."""

    name = "robosuite"

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec
        self._keys = spec.definition.observation_sizes
        self.environment = simulator.make(spec)
        self._start: dict[str, Any] = {}

    @property
    def model(self) -> mujoco.MjModel:
        return self.environment.sim.model._model

    @property
    def data(self) -> mujoco.MjData:
        return self.environment.sim.data._data

    def reset(self, seed: int) -> Observation:
        """robosuite's hard reset: it compiles the model again (about 0.2 s)."""
        simulator.seed(self.environment, seed)
        with simulator.silence():
            raw = self.environment.reset()
        self._start = starts.read(self.spec, self.model, self.data)
        return simulator.observation(raw, self._keys)

    def reset_to(self, start: State) -> Observation:
        """Places robot and objects as in `start` on the present model. Raises `InputError` for another task's start."""
        start = starts.check(self.spec, self.model, start)
        environment = self.environment
        with simulator.silence():
            environment.sim.reset()
            starts.resize(self.spec, self.model, self.data, start)
            noise = [robot.initialization_noise for robot in environment.robots]
            init = [robot.init_qpos for robot in environment.robots]
            qpos = np.asarray(start["qpos"], np.float64)
            for robot in environment.robots:
                robot.initialization_noise = {"magnitude": 0.0, "type": "gaussian"}
                robot.init_qpos = qpos[robot._ref_joint_pos_indexes]
            try:
                environment._reset_internal()
            finally:
                for robot, old_noise, old_init in zip(environment.robots, noise, init, strict=True):
                    robot.initialization_noise, robot.init_qpos = old_noise, old_init
            self.data.qpos[:] = qpos
            self.data.qvel[:] = np.asarray(start["qvel"], np.float64)
            environment.sim.forward()
            environment._obs_cache = {}
            environment._reset_observables()
            raw = environment._get_observations(force_update=True)
        self._start = start
        return simulator.observation(raw, self._keys)

    def get_start(self) -> dict[str, Any]:
        return dict(self._start)

    def run(self, actions: np.ndarray, until_success: bool = True) -> Chunk:
        actions = check_actions(actions, self.spec.definition.action_size)
        usable = leading_finite(actions)
        fault = NON_FINITE if usable < len(actions) else None
        observations: list[Observation] = []
        success: list[bool] = []
        for action in actions[:usable]:
            raw, _, _, _ = self.environment.step(action)
            if any(self.data.warning[kind].number for kind in FATAL_WARNINGS):
                fault = UNSTABLE
                break
            observations.append(simulator.observation(raw, self._keys))
            success.append(bool(self.environment._check_success()))
            if until_success and success[-1]:
                fault = None
                break
        stacked = {
            key: np.array([row[key] for row in observations]).reshape(-1, size) for key, size in self._keys.items()
        }
        return Chunk(stacked, np.array(success, bool), fault)

    def state(self) -> np.ndarray:
        return np.concatenate([[self.data.time], self.data.qpos, self.data.qvel])

    def model_xml(self) -> str:
        return str(self.environment.sim.model.get_xml())

    def frame(self, width: int, height: int, camera: str) -> np.ndarray:
        from isd_envs.engines.render import picture

        return picture(self.model, self.data, width, height, camera)

    def close(self) -> None:
        self.environment.close()
