"""From one action mode to the other: the poses that recorded displacements ask of the controller."""

from __future__ import annotations

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from isd_envs.spec import EnvSpec

POSE = 7


def absolute_poses(
    spec: EnvSpec, model: mujoco.MjModel, data: mujoco.MjData, states: np.ndarray, actions: np.ndarray
) -> np.ndarray:
    """Actions [T, 7 A] as poses [T, 7 A] (position in m, rotation vector, gripper) in the frame of the actions.

    states: [T, 1 + nq + nv] before each action. What robosuite's operational-space controller aims at is the pose that
    the action's displacement makes of the present one. `data` is left in the last state.
    """
    sites = [
        (model.site(f"gripper{arm}_right_grip_site").id, model.site(f"robot{arm}_right_center").id)
        for arm in range(spec.definition.robots)
    ]
    out = np.empty_like(actions, dtype=np.float64)
    for step, (state, action) in enumerate(zip(states, actions, strict=True)):
        data.qpos[:], data.qvel[:] = state[1 : 1 + model.nq], state[1 + model.nq :]
        mujoco.mj_kinematics(model, data)
        for arm, (grip, base) in enumerate(sites):
            part = slice(POSE * arm, POSE * (arm + 1))
            position, rotation = data.site_xpos[grip], data.site_xmat[grip].reshape(3, 3)
            if spec.frame == "base":
                to_base = data.site_xmat[base].reshape(3, 3).T
                position, rotation = to_base @ (position - data.site_xpos[base]), to_base @ rotation
            out[step, part] = absolute_pose(spec, position, rotation, action[part])
    return out


def absolute_pose(spec: EnvSpec, position: np.ndarray, rotation: np.ndarray, action: np.ndarray) -> np.ndarray:
    """What one arm's displacement [7] in [-1, 1] asks for, [7], from its present pose (m, 3 x 3)."""
    change = np.clip(action[:6], -1, 1)
    turned = Rotation.from_rotvec(spec.rotation_scale * change[3:]).as_matrix() @ rotation
    moved = position + spec.position_scale * change[:3]
    return np.concatenate([moved, Rotation.from_matrix(turned).as_rotvec(), action[6:]])
