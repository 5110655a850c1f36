"""The compiled engine behind the engine interface."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from isd_envs.engines import starts
from isd_envs.engines.compiled import resets, rollouts
from isd_envs.engines.compiled.arms import new_memory
from isd_envs.engines.compiled.library import view
from isd_envs.engines.compiled.scene import ROBOT_COLUMNS, ROBOT_SIZE, TRACKED
from isd_envs.engines.compiled.template import template_of
from isd_envs.engines.engine import NON_FINITE, UNSTABLE, Chunk, Observation, State, check_actions, leading_finite
from isd_envs.spec import EnvSpec

SNAPSHOT = ("qpos", "qvel", "qacc_warmstart", "ctrl")
"""The arrays of an mjData that decide how it goes on; the rest is computed from them at the next substep."""


class CompiledEngine:
    """One environment with its own model and data. Raises `UnsupportedError` for settings that are not compiled.

    Calls release the interpreter lock while they step, so engines in several threads run in parallel.
    """

    name = "compiled"

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec
        self.template = template_of(spec)
        self.model = self.template.new_model()
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        # Views into the memory of model and data: valid as long as these two objects are, so they are never replaced.
        self._simulation = view(self.model, self.data)
        self._arms, self._scene = self.template.arms, self.template.scene
        self._memory = new_memory(spec.definition.robots, TRACKED[spec.task])
        self._run = rollouts.run_exact if spec.mode == "exact" else rollouts.run_fast
        self._size = spec.definition.object_size + ROBOT_SIZE * spec.definition.robots
        self._start: dict[str, Any] = {}
        self._row = np.zeros(self._size)

    def reset(self, seed: int) -> Observation:
        return self._begin(self.template.draw(self.model, seed))

    def reset_to(self, start: State) -> Observation:
        """Raises `InputError` for a start of another task."""
        return self._begin(starts.check(self.spec, self.model, start))

    def _begin(self, start: dict[str, Any]) -> Observation:
        resets.apply(self.spec, self.model, self.data, self._arms, self._memory, start)
        self._start = start
        rows, success = np.zeros((1, self._size)), np.zeros(1, np.bool_)
        nothing = np.zeros((0, self.spec.definition.action_size))
        self._execute(nothing, False, rows, success, fresh=True)
        self._row = rows[0]
        return {key: values[0] for key, values in self._named(rows).items()}

    def get_start(self) -> dict[str, Any]:
        return dict(self._start)

    def run(self, actions: np.ndarray, until_success: bool = True) -> Chunk:
        actions = check_actions(actions, self.spec.definition.action_size)
        usable = leading_finite(actions)
        fault = NON_FINITE if usable < len(actions) else None
        actions = actions[:usable]
        rows, success = np.zeros((usable, self._size)), np.zeros(usable, np.bool_)
        steps, stable = self._execute(actions, until_success, rows, success)
        if steps:
            self._row = rows[steps - 1]
        if not stable:
            fault = UNSTABLE
        elif steps < usable or (usable and success[steps - 1] and until_success):
            fault = None
        return Chunk(self._named(rows[:steps]), success[:steps], fault)

    def _execute(
        self, actions: np.ndarray, until_success: bool, rows: np.ndarray, success: np.ndarray, fresh: bool = False
    ) -> tuple[int, bool]:
        absolute, in_base = self.spec.action_mode == "absolute", self.spec.frame == "base"
        settings = (self.template.substeps, absolute, in_base, until_success, fresh)
        bound = (self._simulation, self._arms, self._memory, self._scene)
        try:
            steps, stable = self._run(*bound, settings, actions, self._rotations(actions), rows, success)
        except np.linalg.LinAlgError:  # the controller's matrices hold NaN, or the mass matrix is singular
            return 0, False
        return int(steps), bool(stable)

    def snapshot(self) -> dict[str, Any]:
        """Everything that the future depends on, as lists of numbers; `restore` continues from it bit by bit."""
        data = {key: getattr(self.data, key).tolist() for key in SNAPSHOT}
        memory = {key: value.tolist() for key, value in self._memory._asdict().items()}
        return {"start": self._start, "time": self.data.time, "data": data, "memory": memory, "row": self._row.tolist()}

    def restore(self, snapshot: State) -> Observation:
        """Returns to a snapshot of this task and gives the observation of that moment."""
        # The start first: it sizes the objects of the model, from which the rest is computed.
        self._begin(starts.check(self.spec, self.model, snapshot["start"]))
        self.data.time = snapshot["time"]
        for key, values in snapshot["data"].items():
            getattr(self.data, key)[:] = values
        for key, value in self._memory._asdict().items():
            value[:] = np.asarray(snapshot["memory"][key]).reshape(value.shape)
        self._row = np.array(snapshot["row"])
        return {key: values[0] for key, values in self._named(self._row[None]).items()}

    def _rotations(self, actions: np.ndarray) -> np.ndarray:
        """Goal orientations of absolute actions, [n, A, 3, 3], from rotation vectors as robosuite converts them."""
        robots = self.spec.definition.robots
        if self.spec.action_mode == "delta" or not len(actions):
            return np.zeros((len(actions), robots, 3, 3))
        vectors = actions.reshape(len(actions) * robots, 7)[:, 3:6]
        return np.ascontiguousarray(Rotation.from_rotvec(vectors).as_matrix().reshape(-1, robots, 3, 3))

    def _named(self, rows: np.ndarray) -> Observation:
        """Rows [k, D] under robomimic's keys."""
        size = self.spec.definition.object_size
        named = {"object": rows[:, :size]}
        for robot in range(self.spec.definition.robots):
            part = rows[:, size + ROBOT_SIZE * robot : size + ROBOT_SIZE * (robot + 1)]
            values = {key: part[:, columns] for key, columns in ROBOT_COLUMNS.items()}
            values["joint_pos_cos"] = np.cos(values["joint_pos"])
            values["joint_pos_sin"] = np.sin(values["joint_pos"])
            named |= {f"robot{robot}_{key}": value for key, value in values.items()}
        return {key: named[key] for key in self.spec.definition.observation_sizes}

    def state(self) -> np.ndarray:
        return np.concatenate([[self.data.time], self.data.qpos, self.data.qvel])

    def model_xml(self) -> str:
        return self.template.model_xml(self.model)

    def frame(self, width: int, height: int, camera: str) -> np.ndarray:
        from isd_envs.engines.render import picture

        return picture(self.model, self.data, width, height, camera)

    def close(self) -> None:
        """Nothing to free: memory goes with the object."""
