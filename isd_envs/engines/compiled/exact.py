"""One control step with robosuite's own order of operations, bit-equal to `env.step` where both use the same BLAS.

The linear algebra is robosuite's own compiled functions (`opspace_matrices` and so on), called from here.
"""

# The functions are compiled; numba infers the types of arguments without an annotation.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from typing import Any

import numpy as np
import robosuite.utils.control_utils as control_utils
import robosuite.utils.transform_utils as transform_utils
from numba import njit

from isd_envs.engines.compiled.arms import Arms, Memory
from isd_envs.engines.compiled.library import Simulation, inner, mj_jacSite, mj_step1, mj_step2


def compiled(function: Any) -> Any:
    """robosuite compiles its functions unless its macros say otherwise."""
    return function if hasattr(function, "py_func") else njit(function)


opspace_matrices = compiled(control_utils.opspace_matrices)
nullspace_torques = compiled(control_utils.nullspace_torques)
orientation_error = compiled(control_utils.orientation_error)
quat2mat = compiled(transform_utils.quat2mat)


@inner
def axis_angle_to_quaternion(vector):
    """Rotation vector [3] (rad) -> quaternion xyzw [4]."""
    quaternion = np.zeros(4)
    angle = math.sqrt(np.dot(vector, vector))
    if angle == 0.0:
        quaternion[3] = 1.0
        return quaternion
    quaternion[3] = math.cos(angle / 2.0)
    sine = math.sin(angle / 2.0)
    for i in range(3):
        quaternion[i] = vector[i] / angle * sine
    return quaternion


@inner
def pose(position, rotation):
    """[3], [3, 3] -> homogeneous [4, 4]."""
    result = np.zeros((4, 4))
    result[:3, :3] = rotation
    result[:3, 3] = position
    result[3, 3] = 1.0
    return result


@inner
def inverse_pose(matrix):
    """The inverse of a homogeneous [4, 4], as robosuite computes it."""
    result = np.zeros((4, 4))
    result[:3, :3] = matrix[:3, :3].T
    rotation = np.ascontiguousarray(result[:3, :3])
    result[:3, 3] = -np.dot(rotation, np.ascontiguousarray(matrix[:3, 3]))
    result[3, 3] = 1.0
    return result


@inner
def scaled(arms: Arms, arm: int, action, result):
    """The six pose numbers of an action, clipped and scaled to metres and radians, into result [6]."""
    for i in range(6):
        scale = abs(arms.out_high[arm, i] - arms.out_low[arm, i]) / abs(arms.in_high[arm, i] - arms.in_low[arm, i])
        middle_out = (arms.out_high[arm, i] + arms.out_low[arm, i]) / 2.0
        middle_in = (arms.in_high[arm, i] + arms.in_low[arm, i]) / 2.0
        clipped = min(max(action[i], arms.in_low[arm, i]), arms.in_high[arm, i])
        result[i] = (clipped - middle_in) * scale + middle_out


@inner
def gripper_commands(arms: Arms, memory: Memory, arm: int, command, result):
    """Integrates the sign of the gripper's action and maps it to the fingers' control range, into result [2]."""
    for i in range(2):
        direction = -1.0 if i == 0 else 1.0
        moved = memory.fingers[arm, i] + direction * arms.finger_speed[arm] * np.sign(command)
        memory.fingers[arm, i] = min(max(moved, -1.0), 1.0)
        low, high = arms.finger_low[arm, i], arms.finger_high[arm, i]
        target = 0.5 * (high + low) + 0.5 * (high - low) * memory.fingers[arm, i]
        result[i] = min(max(target, low), high)


@inner
def arm_mass(simulation: Simulation, arms: Arms, memory: Memory, arm: int, first, result):
    """The arm's block of the joint-space mass matrix, into result [7, 7]."""
    for i in range(7):
        for j in range(i + 1):
            if first:
                result[i, j] = memory.first_mass[arm, i, j]
                result[j, i] = memory.first_mass[arm, j, i]
            else:
                value = simulation.mass[arms.mass_address[arm, i] + i - j]
                result[i, j] = value
                result[j, i] = value


@inner
def delta_goal(position, rotation, base_position, base_rotation, change, in_base, goal_position, goal_rotation):
    """The goal pose that lies `change` [6] (m, rad) from the present one, in the base's frame or the world's."""
    turn = quat2mat(axis_angle_to_quaternion(change[3:6]))
    if in_base:
        to_base = inverse_pose(pose(base_position, base_rotation))
        world = np.eye(4)
        world[:3, 3] = position
        goal_position[:] = np.dot(to_base, world)[:3, 3] + change[:3]
        present = np.ascontiguousarray(np.dot(to_base, pose(position, rotation))[:3, :3])
        goal_rotation[:, :] = np.dot(turn, present)
    else:
        goal_position[:] = position + change[:3]
        goal_rotation[:, :] = np.dot(turn, rotation)


@inner
def control_step(simulation: Simulation, arms: Arms, memory: Memory, substeps, absolute, in_base, action, rotations):
    """One control step: `substeps` times mj_step1, the controllers, mj_step2.

    action: [7 A]; rotations: [A, 3, 3], the goal orientations of absolute actions.
    """
    count = len(arms.site)
    nv = len(simulation.qvel)
    jacobian_position, jacobian_rotation = np.zeros((3, nv)), np.zeros((3, nv))
    J_pos, J_ori, J_full = np.empty((3, 7)), np.empty((3, 7)), np.empty((6, 7))
    mass = np.empty((7, 7)).T  # robosuite's mass matrix is in Fortran order, which decides the order of its sums
    q, qd = np.empty(7), np.empty(7)
    change, wrench = np.empty(6), np.empty(6)
    goal_position, goal_rotation = np.zeros((count, 3)), np.zeros((count, 3, 3))
    fingers = np.empty((count, 2))
    first = memory.first[0] != 0
    memory.first[0] = 0
    for substep in range(substeps):
        mj_step1(simulation.model, simulation.data)
        for arm in range(count):
            site, base = arms.site[arm], arms.base[arm]
            mj_jacSite(
                simulation.model, simulation.data, jacobian_position.ctypes.data, jacobian_rotation.ctypes.data, site
            )
            position, rotation = simulation.site_pos[site].copy(), simulation.site_mat[site].copy()
            base_position, base_rotation = simulation.site_pos[base].copy(), simulation.site_mat[base].copy()
            velocity = np.dot(jacobian_position, simulation.qvel)
            angular_velocity = np.dot(jacobian_rotation, simulation.qvel)
            for a in range(7):
                dof = arms.dof[arm, a]
                for b in range(3):
                    J_pos[b, a] = J_full[b, a] = jacobian_position[b, dof]
                    J_ori[b, a] = J_full[3 + b, a] = jacobian_rotation[b, dof]
                q[a] = simulation.qpos[arms.qpos[arm, a]]
                qd[a] = simulation.qvel[dof]
            arm_mass(simulation, arms, memory, arm, first and substep == 0, mass)

            if substep == 0:
                part = action[7 * arm : 7 * arm + 7]
                gripper_commands(arms, memory, arm, part[6], fingers[arm])
                if absolute:
                    goal_position[arm, :] = part[:3]
                    goal_rotation[arm, :, :] = rotations[arm]
                else:
                    scaled(arms, arm, part, change)
                    delta_goal(
                        position,
                        rotation,
                        base_position,
                        base_rotation,
                        change,
                        in_base,
                        goal_position[arm],
                        goal_rotation[arm],
                    )

            if in_base:
                desired_position = base_position + np.dot(base_rotation, goal_position[arm])
                desired_rotation = np.dot(base_rotation, goal_rotation[arm])
            else:
                desired_position, desired_rotation = goal_position[arm].copy(), goal_rotation[arm].copy()
            error = orientation_error(desired_rotation, rotation)
            force = (desired_position - position) * arms.kp[arm, :3] + (-velocity) * arms.kd[arm, :3]
            torque = error * arms.kp[arm, 3:] + (-angular_velocity) * arms.kd[arm, 3:]
            _, lambda_pos, lambda_ori, nullspace = opspace_matrices(mass, J_full, J_pos, J_ori)
            wrench[:3] = np.dot(lambda_pos, force)
            wrench[3:] = np.dot(lambda_ori, torque)
            tau = np.dot(J_full.T, wrench)
            for a in range(7):
                tau[a] += simulation.bias[arms.dof[arm, a]]
            tau += nullspace_torques(mass, nullspace, memory.rest[arm], q, qd)
            for a in range(7):
                simulation.ctrl[arms.actuator[arm, a]] = min(
                    max(tau[a], arms.torque_low[arm, a]), arms.torque_high[arm, a]
                )
            for i in range(2):
                simulation.ctrl[arms.finger_actuator[arm, i]] = fingers[arm, i]
        mj_step2(simulation.model, simulation.data)
