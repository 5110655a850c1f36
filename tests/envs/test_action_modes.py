"""Goal poses of displacements against robosuite's own controller."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isd_envs.action_modes import absolute_poses
from isd_envs.engines import simulator
from isd_envs.spec import EnvSpec


@pytest.mark.parametrize("task, frame, seed", [("lift", "base", 0), ("lift", "world", 1), ("transport", "base", 2)])
def test_the_poses_are_those_of_robosuites_controller(task: str, frame: str, seed: int) -> None:
    spec = EnvSpec(task, engine="robosuite", frame=frame, position_scale=0.04, rotation_scale=0.7)
    environment = simulator.make(spec)
    simulator.seed(environment, seed)
    environment.reset()
    model, data = environment.sim.model._model, environment.sim.data._data
    size, rng = spec.definition.action_size, np.random.default_rng(seed)
    states, actions, expected = [], rng.uniform(-1.3, 1.3, (4, size)), []
    for action in actions:
        states.append(np.concatenate([[data.time], data.qpos, data.qvel]))
        environment.sim.forward()
        parts: list[np.ndarray] = []
        for arm, robot in enumerate(environment.robots):
            controller = robot.part_controllers["right"]
            controller.new_update = True
            controller.set_goal(np.clip(action[7 * arm : 7 * arm + 6], -1, 1))
            parts += [controller.goal_pos, Rotation.from_matrix(controller.goal_ori).as_rotvec(), [action[7 * arm + 6]]]
        expected.append(np.concatenate(parts))
        environment.step(action)
    found = absolute_poses(spec, model, data, np.array(states), actions)
    np.testing.assert_allclose(found, expected, atol=1e-6)  # robosuite turns by a matrix in float32
    environment.close()
