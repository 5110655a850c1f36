"""What a task's observation is made of, as a table that compiled code works through."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from isd_envs.engines.compiled.arms import Arms

(
    JOINT_POSITION,
    JOINT_VELOCITY,
    BODY_POSITION,
    SITE_POSITION,
    GEOM_POSITION,
    BODY_QUATERNION,
    BODY_ROTATION,
    SITE_ROTATION,
    GEOM_ROTATION,
    RELATIVE_POSE,
    DIFFERENCE,
    CONTACT,
    FRAME_ASSEMBLED,
    TOOL_ON_FRAME,
) = range(14)

ROBOT_COLUMNS = {
    "joint_pos": slice(0, 7),
    "joint_vel": slice(7, 14),
    "eef_pos": slice(14, 17),
    "eef_quat": slice(17, 21),
    "eef_quat_site": slice(21, 25),
    "gripper_qpos": slice(25, 27),
    "gripper_qvel": slice(27, 29),
}
"""Where a robot's observations lie in its part of a row; cosines and sines of the joints are computed outside."""
ROBOT_SIZE = 29
HAND = 14
"""Column of eef_pos and eef_quat in a robot's part."""
EVERYWHERE = (0.0, -np.inf, np.inf)
TRACKED = {"lift": 0, "can": 1, "square": 1, "tool_hang": 3, "transport": 0}
"""How many objects' poses are remembered from the last observation."""


class Scene(NamedTuple):
    """A task's observation row [D] = object part, then 29 numbers for each robot, and its success verdict.

    table [n, 4]: (kind, first argument, second argument, column), in robosuite's order of evaluation.
    place: column of a position [1], or -1. box [3, 3]: (reference, low, high) for each axis; success needs
    low < position - reference < high (m). release [1]: whether the hand must be away from that position, too.
    flags: columns that must all be 1 for success. groups [4, geoms]: int8 flags for contact tests.
    parts: ids that ToolHang's two stages read. reach [1]: ToolHang's tolerance (m). hand: column of the first hand.
    """

    table: np.ndarray
    place: np.ndarray
    box: np.ndarray
    release: np.ndarray
    flags: np.ndarray
    groups: np.ndarray
    parts: np.ndarray
    reach: np.ndarray
    hand: int


def read_scene(environment: Any, task: str, arms: Arms, object_size: int) -> Scene:
    """The scene of a robosuite environment."""
    read = {"lift": _lift, "can": _can, "square": _square, "tool_hang": _tool_hang, "transport": _transport}[task]
    part: dict[str, Any] = {
        "place": -1,
        "box": [EVERYWHERE] * 3,
        "release": 0,
        "flags": [],
        "groups": [],
        "parts": [],
        "reach": 0.0,
    }
    part |= read(environment, object_size)
    model = environment.sim.model._model
    groups = np.zeros((4, model.ngeom), np.int8)
    for row, names in enumerate(part["groups"]):
        groups[row, [model.geom(name).id for name in names]] = 1
    return Scene(
        table=np.array(_robots(arms, object_size) + part["table"], np.int64),
        place=np.array([part["place"]], np.int64),
        box=np.array(part["box"], np.float64),
        release=np.array([part["release"]], np.int64),
        flags=np.array(part["flags"], np.int64),
        groups=groups,
        parts=np.array(part["parts"], np.int64),
        reach=np.array([part["reach"]]),
        hand=object_size + HAND,
    )


def _robots(arms: Arms, object_size: int) -> list[tuple[int, int, int, int]]:
    table = []
    for arm in range(len(arms.site)):
        column = object_size + ROBOT_SIZE * arm
        table += [(JOINT_POSITION, index, 0, column + i) for i, index in enumerate(arms.qpos[arm])]
        table += [(JOINT_VELOCITY, index, 0, column + 7 + i) for i, index in enumerate(arms.dof[arm])]
        table.append((SITE_POSITION, arms.site[arm], 0, column + HAND))
        table.append((BODY_QUATERNION, arms.hand[arm], 0, column + HAND + 3))
        table.append((SITE_ROTATION, arms.site[arm], 0, column + HAND + 7))
        table += [(JOINT_POSITION, index, 0, column + 25 + i) for i, index in enumerate(arms.finger_qpos[arm])]
        table += [(JOINT_VELOCITY, index, 0, column + 27 + i) for i, index in enumerate(arms.finger_dof[arm])]
    return table


def _lift(environment: Any, object_size: int) -> dict[str, Any]:
    """cube_pos 3, cube_quat 4, gripper_to_cube_pos 3; success when the cube is 4 cm above the table."""
    cube = environment.cube_body_id
    height = environment.model.mujoco_arena.table_offset[2] + 0.04
    return {
        "table": [
            (BODY_POSITION, cube, 0, 0),
            (BODY_QUATERNION, cube, 0, 3),
            (DIFFERENCE, 0, object_size + HAND, 7),
        ],
        "place": 0,
        "box": [EVERYWHERE, EVERYWHERE, (0.0, height, np.inf)],
    }


def _tracked(kinds: tuple[int, int], identity: int, index: int) -> list[tuple[int, int, int, int]]:
    """An object's 14 numbers: relative position 3 and quaternion 4, position 3, quaternion 4."""
    column = 14 * index
    return [
        (kinds[0], identity, 0, column + 7),
        (kinds[1], identity, 0, column + 10),
        (RELATIVE_POSE, index, column + 7, column),
    ]


def _can(environment: Any, object_size: int) -> dict[str, Any]:
    """The can's poses; success when it is in its bin (PickPlace.not_in_bin for object 3) and released."""
    can = environment.obj_body_id["Can"]
    x, y, z = environment.bin2_pos
    width, depth = environment.bin_size[0] / 2, environment.bin_size[1] / 2
    return {
        "table": _tracked((BODY_POSITION, BODY_QUATERNION), can, 0),
        "place": 7,
        "box": [(0.0, x, x + width), (0.0, y, y + depth), (0.0, z, z + 0.1)],
        "release": 1,
    }


def _square(environment: Any, object_size: int) -> dict[str, Any]:
    """The square nut's poses; success when it lies around its peg and is released."""
    nut = environment.obj_body_id["SquareNut"]
    peg = environment.sim.data.body_xpos[environment.peg1_body_id]
    return {
        "table": _tracked((BODY_POSITION, BODY_QUATERNION), nut, 0),
        "place": 7,
        "box": [(peg[0], -0.03, 0.03), (peg[1], -0.03, 0.03), (0.0, -np.inf, environment.table_offset[2] + 0.05)],
        "release": 1,
    }


def _tool_hang(environment: Any, object_size: int) -> dict[str, Any]:
    """Poses of stand, frame and tool (3 x 14), frame_is_assembled, tool_on_frame; success when both hold."""
    geoms, sites = environment.obj_geom_id, environment.obj_site_id
    holes = environment.tool_args["ngeoms"]
    gripper = environment.robots[0].gripper["right"]
    hole = [f"tool_hole1_hc_{i}" for i in range(holes)]
    return {
        "table": [
            *_tracked((GEOM_POSITION, GEOM_ROTATION), geoms["stand_base"], 0),
            *_tracked((SITE_POSITION, SITE_ROTATION), sites["frame_intersection_site"], 1),
            *_tracked((BODY_POSITION, BODY_ROTATION), environment.obj_body_id["tool"], 2),
            (FRAME_ASSEMBLED, 0, 0, 42),
            (TOOL_ON_FRAME, 0, 0, 43),
        ],
        "flags": [42, 43],
        "groups": [
            [name for names in gripper.important_geoms.values() for name in names],
            environment.tool.contact_geoms,
            hole,
            ["frame_horizontal_frame"],
        ],
        "parts": [
            geoms["stand_base"],
            sites["stand_mount_site"],
            sites["frame_tip_site"],
            sites["frame_mount_site"],
            sites["frame_intersection_site"],
            sites["frame_hang_site"],
            sites["tool_hole1_center"],
            geoms["tool_hole1_hc_0"],
            geoms[f"tool_hole1_hc_{holes // 2}"],
            *(geoms[f"stand_wall_{i}"] for i in range(4)),
        ],
        "reach": environment.tool_args["inner_radius_1"] - environment.frame_args["frame_thickness"] / 2.0,
    }


def _transport(environment: Any, object_size: int) -> dict[str, Any]:
    """Poses of payload, trash and lid handle, positions of the bins, two flags, four differences to the hands."""
    group = environment.transport
    hands = [object_size + HAND, object_size + ROBOT_SIZE + HAND]
    return {
        "table": [
            (BODY_POSITION, group.payload_body_id, 0, 0),
            (BODY_ROTATION, group.payload_body_id, 0, 3),
            (BODY_POSITION, group.trash_body_id, 0, 7),
            (BODY_ROTATION, group.trash_body_id, 0, 10),
            (GEOM_POSITION, group.lid_handle_geom_ids[0], 0, 14),
            (GEOM_ROTATION, group.lid_handle_geom_ids[0], 0, 17),
            (GEOM_POSITION, group.target_bin_base_geom_ids[0], 0, 21),
            (GEOM_POSITION, group.trash_bin_base_geom_ids[0], 0, 24),
            (CONTACT, 0, 1, 27),
            (CONTACT, 2, 3, 28),
            (DIFFERENCE, 0, hands[0], 29),
            (DIFFERENCE, 14, hands[0], 32),
            (DIFFERENCE, 0, hands[1], 35),
            (DIFFERENCE, 7, hands[1], 38),
        ],
        "flags": [27, 28],
        "groups": [
            group.target_bin.base_geoms,
            group.payload.contact_geoms,
            group.trash_bin.base_geoms,
            group.trash.contact_geoms,
        ],
    }
