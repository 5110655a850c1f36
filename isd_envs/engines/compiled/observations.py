"""Observations and success verdicts, written by compiled code from MuJoCo's memory after each control step.

Like robosuite's, they are taken after mj_step2 without a forward pass: joint values are new, poses of bodies and sites
are one substep old, and an object's pose relative to the hand combines the object's pose at the previous observation
with the hand's pose now (zero at a reset).
"""

# The functions are compiled; numba infers the types of arguments without an annotation.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
import robosuite.utils.transform_utils as transform_utils

from isd_envs.engines.compiled.arms import Memory
from isd_envs.engines.compiled.exact import compiled, inverse_pose, quat2mat
from isd_envs.engines.compiled.library import CONTACT_GEOM, Simulation, inner
from isd_envs.engines.compiled.scene import (
    BODY_POSITION,
    BODY_QUATERNION,
    BODY_ROTATION,
    CONTACT,
    DIFFERENCE,
    FRAME_ASSEMBLED,
    GEOM_POSITION,
    GEOM_ROTATION,
    JOINT_POSITION,
    JOINT_VELOCITY,
    RELATIVE_POSE,
    SITE_POSITION,
    SITE_ROTATION,
    TOOL_ON_FRAME,
    Scene,
)

mat2quat = compiled(transform_utils.mat2quat)


@inner
def observe(simulation: Simulation, memory: Memory, scene: Scene, fresh, row):
    """Writes one observation into row [D] and returns the success verdict. `fresh` tells that this is a reset."""
    for index in range(len(scene.table)):
        kind, first, second, column = scene.table[index]
        if kind == JOINT_POSITION:
            row[column] = simulation.qpos[first]
        elif kind == JOINT_VELOCITY:
            row[column] = simulation.qvel[first]
        elif kind in (BODY_POSITION, SITE_POSITION, GEOM_POSITION):
            for i in range(3):
                row[column + i] = position(simulation, kind, first, i)
        elif kind == BODY_QUATERNION:
            for i in range(4):
                row[column + i] = simulation.body_quat[first, (i + 1) % 4]
        elif kind in (BODY_ROTATION, SITE_ROTATION, GEOM_ROTATION):
            row[column : column + 4] = mat2quat(rotation(simulation, kind, first))
        elif kind == RELATIVE_POSE:
            if fresh:
                row[column : column + 7] = 0.0
            else:
                relative_pose(memory.seen[first], row, scene.hand, column)
            memory.seen[first, :] = row[second : second + 7]
        elif kind == DIFFERENCE:
            for i in range(3):
                row[column + i] = row[first + i] - row[second + i]
        elif kind == CONTACT:
            row[column] = 1.0 if touching(simulation, scene, first, second) else 0.0
        elif kind == FRAME_ASSEMBLED:
            row[column] = 1.0 if frame_assembled(simulation, scene) else 0.0
        elif kind == TOOL_ON_FRAME:
            row[column] = 1.0 if tool_on_frame(simulation, scene) else 0.0
    return succeeded(scene, row)


@inner
def succeeded(scene: Scene, row):
    """The verdict of `_check_success` on a row."""
    for index in range(len(scene.flags)):
        if row[scene.flags[index]] != 1.0:
            return False
    place = scene.place[0]
    if place < 0:
        return True
    squared = 0.0
    for i in range(3):
        if not scene.box[i, 1] < row[place + i] - scene.box[i, 0] < scene.box[i, 2]:
            return False
        squared += (row[scene.hand + i] - row[place + i]) ** 2
    return scene.release[0] == 0 or 1.0 - np.tanh(10.0 * np.sqrt(squared)) < 0.6


@inner
def position(simulation: Simulation, kind, identity, axis):
    """One coordinate (m) of a body, site or geom."""
    if kind == BODY_POSITION:
        return simulation.body_pos[identity, axis]
    if kind == SITE_POSITION:
        return simulation.site_pos[identity, axis]
    return simulation.geom_pos[identity, axis]


@inner
def rotation(simulation: Simulation, kind, identity):
    """The rotation matrix [3, 3] of a body, site or geom."""
    if kind == BODY_ROTATION:
        return simulation.body_mat[identity]
    if kind == SITE_ROTATION:
        return simulation.site_mat[identity]
    return simulation.geom_mat[identity]


@inner
def relative_pose(seen, row, hand, column):
    """The pose `seen` [7] in the frame of the hand whose pose is in row[hand:], into row[column:] (7 numbers)."""
    poses = np.zeros((2, 4, 4))
    for index in range(2):
        source = row[hand : hand + 7] if index == 0 else seen
        poses[index, :3, :3] = quat2mat(source[3:])
        for i in range(3):
            poses[index, i, 3] = np.float32(source[i])  # robosuite's pose2mat keeps float32
            for j in range(3):
                poses[index, i, j] = np.float32(poses[index, i, j])
        poses[index, 3, 3] = 1.0
    relative = np.dot(inverse_pose(poses[0]), poses[1])
    row[column : column + 3] = relative[:3, 3]
    row[column + 3 : column + 7] = mat2quat(np.ascontiguousarray(relative[:3, :3]))


@inner
def touching(simulation: Simulation, scene: Scene, first, second):
    """Whether a geom of one group is in contact with a geom of the other."""
    for contact in range(simulation.contact_count[0]):
        a = simulation.contacts[contact, CONTACT_GEOM]
        b = simulation.contacts[contact, CONTACT_GEOM + 1]
        if a < 0 or b < 0:
            continue
        if (scene.groups[first, a] and scene.groups[second, b]) or (scene.groups[second, a] and scene.groups[first, b]):
            return True
    return False


@inner
def direction(end, start, result):
    """The vector from start [3] to end [3] into result [3]; returns its length."""
    for i in range(3):
        result[i] = end[i] - start[i]
    return np.linalg.norm(result)


@inner
def opposite(first, second, origin, axis):
    """Whether two points [3] lie on opposite sides of the line through `origin` along `axis`."""
    return np.dot(np.cross(first - origin, axis), np.cross(second - origin, axis)) < 0.0


@inner
def frame_assembled(simulation: Simulation, scene: Scene):
    """ToolHang's first stage: the stand is upright and the frame's tip is in it, between its walls."""
    base = simulation.geom_pos[scene.parts[0]]
    shaft, hook = np.empty(3), np.empty(3)
    shaft /= direction(simulation.site_pos[scene.parts[1]], base, shaft)
    upright = np.abs(np.arccos(shaft[2])) < np.pi / 18.0
    close = direction(simulation.site_pos[scene.parts[2]], base, shaft) < 0.05
    end = simulation.site_pos[scene.parts[3]]
    hook /= direction(simulation.site_pos[scene.parts[4]], end, hook)
    between = True
    for i in range(2):
        wall, other = simulation.geom_pos[scene.parts[9 + i]], simulation.geom_pos[scene.parts[11 + i]]
        between = between and opposite(wall, other, end, hook)
    return upright and close and between


@inner
def tool_on_frame(simulation: Simulation, scene: Scene):
    """ToolHang's second stage: the tool hangs on the hook by its hole and the gripper does not touch it."""
    end = simulation.site_pos[scene.parts[5]]
    hook, hole = np.empty(3), np.empty(3)
    length = direction(simulation.site_pos[scene.parts[4]], end, hook)
    hook /= length
    direction(simulation.site_pos[scene.parts[6]], end, hole)
    along = np.dot(hole, hook)
    near = np.linalg.norm(hole - along * hook) < scene.reach[0]
    first, second = simulation.geom_pos[scene.parts[7]], simulation.geom_pos[scene.parts[8]]
    inserted = 0.05 < along / length < 1.0
    if not (near and inserted and opposite(first, second, end, hook)):
        return False
    return touching(simulation, scene, 2, 3) and not touching(simulation, scene, 0, 1)
