"""One control step with the equations of robosuite's controller and an arithmetic of our own.

With M the arm's mass matrix, J its Jacobian and Y = L^-1 J^T from the Cholesky factor M = L L^T, the operational-space
inertia's inverse is A = Y^T Y, and

    tau = h + J^T (blockdiag(A_pos, A_ori)^-1 F - A^-1 J a) + M a,      a = 10 (q0 - q) - 2 sqrt(10) qdot,

which is robosuite's J^T Lambda F + h + N^T M a (Khatib 1987) without pseudo-inverses. Results differ from `exact` by
rounding; they part as two simulations part whose starts differ in the last bit.
"""

# The functions are compiled; numba infers the types of arguments without an annotation.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numpy as np

from isd_envs.engines.compiled.arms import Arms, Memory
from isd_envs.engines.compiled.exact import arm_mass, axis_angle_to_quaternion, gripper_commands, quat2mat, scaled
from isd_envs.engines.compiled.library import Simulation, inner, mj_jacSite, mj_step1, mj_step2

STIFFNESS = 10.0
"""robosuite's stiffness of the null space (1/s^2); its damping is critical."""


@inner
def cholesky(matrix, n):
    """Replaces the lower triangle of the leading [n, n] by its Cholesky factor; false if it is not positive."""
    for j in range(n):
        total = matrix[j, j]
        for k in range(j):
            total -= matrix[j, k] * matrix[j, k]
        if not total > 0.0:
            return False
        diagonal = math.sqrt(total)
        matrix[j, j] = diagonal
        for i in range(j + 1, n):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = total / diagonal
    return True


@inner
def solve(factor, vector, n):
    """Replaces vector [n] by the solution of (factor factor^T) x = vector."""
    for i in range(n):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, n):
            total -= factor[k, i] * vector[k]
        vector[i] = total / factor[i, i]


@inner
def product(first, second, transposed, result):
    """3 x 3 product first @ second, or first^T @ second, into result."""
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                total += (first[k, i] if transposed else first[i, k]) * second[k, j]
            result[i, j] = total


@inner
def world_goal(simulation: Simulation, arms: Arms, arm, absolute, in_base, action, rotation, goal, turned):
    """The goal in the world's frame: position into goal [3] (m), orientation into turned [3, 3].

    The base does not move, so the goal is carried to the world once, at the first substep.
    """
    position, present = simulation.site_pos[arms.site[arm]], simulation.site_mat[arms.site[arm]]
    base, frame = simulation.site_pos[arms.base[arm]], simulation.site_mat[arms.base[arm]]
    change, work = np.empty(6), np.empty((3, 3))
    if absolute:
        change[:3] = action[:3]
        work[:, :] = rotation
    else:
        scaled(arms, arm, action, change)
        turn = quat2mat(axis_angle_to_quaternion(change[3:6])).astype(np.float64)
        if in_base:
            product(frame, present, True, work)
            product(turn, work, False, turned)
            work[:, :] = turned
        else:
            product(turn, present, False, work)
    if in_base:
        product(frame, work, False, turned)
    else:
        turned[:, :] = work
    for i in range(3):
        moved = change[i]
        if in_base:
            moved = frame[i, 0] * change[0] + frame[i, 1] * change[1] + frame[i, 2] * change[2]
        goal[i] = moved + (base[i] if absolute and in_base else 0.0) + (0.0 if absolute else position[i])


@inner
def control_step(simulation: Simulation, arms: Arms, memory: Memory, substeps, absolute, in_base, action, rotations):
    """One control step; returns false where a mass matrix is not positive (a diverged or singular state)."""
    count = len(arms.site)
    nv = len(simulation.qvel)
    full = np.zeros((6, nv))
    J, Y, A = np.empty((6, 7)), np.empty((6, 7)), np.empty((6, 6))
    A_pos, A_ori = np.empty((3, 3)), np.empty((3, 3))
    mass, factor = np.empty((7, 7)), np.empty((7, 7))
    wrench, null, rest = np.empty(6), np.empty(6), np.empty(7)
    goal, turned, fingers = np.zeros((count, 3)), np.zeros((count, 3, 3)), np.empty((count, 2))
    damping = 2.0 * math.sqrt(STIFFNESS)
    first = memory.first[0] != 0
    memory.first[0] = 0
    for substep in range(substeps):
        mj_step1(simulation.model, simulation.data)
        for arm in range(count):
            if substep == 0:
                part = action[7 * arm : 7 * arm + 7]
                gripper_commands(arms, memory, arm, part[6], fingers[arm])
                world_goal(simulation, arms, arm, absolute, in_base, part, rotations[arm], goal[arm], turned[arm])
            site = arms.site[arm]
            mj_jacSite(simulation.model, simulation.data, full[:3].ctypes.data, full[3:].ctypes.data, site)
            arm_mass(simulation, arms, memory, arm, first and substep == 0, mass)
            for a in range(7):
                dof = arms.dof[arm, a]
                for r in range(6):
                    J[r, a] = full[r, dof]
                for b in range(7):
                    factor[a, b] = mass[a, b]
                angle = simulation.qpos[arms.qpos[arm, a]]
                rest[a] = STIFFNESS * (memory.rest[arm, a] - angle) - damping * simulation.qvel[dof]
            if not cholesky(factor, 7):
                return False

            for r in range(6):
                for a in range(7):
                    total = J[r, a]
                    for k in range(a):
                        total -= factor[a, k] * Y[r, k]
                    Y[r, a] = total / factor[a, a]
                for c in range(r + 1):
                    total = 0.0
                    for a in range(7):
                        total += Y[r, a] * Y[c, a]
                    A[r, c] = total
                    A[c, r] = total
            for r in range(3):
                for c in range(3):
                    A_pos[r, c] = A[r, c]
                    A_ori[r, c] = A[3 + r, 3 + c]

            position, rotation = simulation.site_pos[site], simulation.site_mat[site]
            for r in range(6):
                velocity, null[r] = 0.0, 0.0
                for a in range(7):
                    velocity += J[r, a] * simulation.qvel[arms.dof[arm, a]]
                    null[r] += J[r, a] * rest[a]
                if r < 3:
                    error = goal[arm, r] - position[r]
                else:
                    i, j = (r - 2) % 3, (r - 1) % 3
                    error = 0.0
                    for c in range(3):
                        error += 0.5 * (rotation[i, c] * turned[arm, j, c] - rotation[j, c] * turned[arm, i, c])
                wrench[r] = arms.kp[arm, r] * error - arms.kd[arm, r] * velocity
            if not (cholesky(A_pos, 3) and cholesky(A_ori, 3) and cholesky(A, 6)):
                return False
            solve(A_pos, wrench[:3], 3)
            solve(A_ori, wrench[3:], 3)
            solve(A, null, 6)

            for a in range(7):
                tau = simulation.bias[arms.dof[arm, a]]
                for r in range(6):
                    tau += J[r, a] * (wrench[r] - null[r])
                for b in range(7):
                    tau += mass[a, b] * rest[b]
                low, high = arms.torque_low[arm, a], arms.torque_high[arm, a]
                simulation.ctrl[arms.actuator[arm, a]] = min(max(tau, low), high)
            for i in range(2):
                simulation.ctrl[arms.finger_actuator[arm, i]] = fingers[arm, i]
        mj_step2(simulation.model, simulation.data)
    return True
