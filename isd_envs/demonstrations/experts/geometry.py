"""Geometry of a hand that points down, from its observed quaternion."""

from __future__ import annotations

import numpy as np

from isd_envs.engines.engine import Observation

OPEN, CLOSE = -1.0, 1.0
GAIN = 10.0
"""Action units per metre: an action of 1 moves the goal by 0.05 m, so an error is halved in one control step."""
ROTATION_GAIN = 2.0
"""Action units per radian: an action of 1 turns the goal by 0.5 rad."""


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """Quaternion xyzw [4] -> rotation matrix [3, 3]."""
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def turned(observation: Observation, yaw: float) -> float:
    """How far the hand's heading is beyond `yaw` (rad), in [-pi, pi)."""
    axis = rotation_of(observation["robot0_eef_quat"])[:, 0]
    return float((np.arctan2(axis[1], axis[0]) - yaw + np.pi) % (2 * np.pi) - np.pi)


def level(observation: Observation, yaw: float) -> np.ndarray:
    """The rotation part [3] of an action that turns the hand to point down with the given heading."""
    present = rotation_of(observation["robot0_eef_quat"])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    goal = np.array([[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]])
    return ROTATION_GAIN * 0.5 * np.cross(present, goal, axis=0).sum(axis=1)


def half_turn(angle: float) -> float:
    """The same line's direction in [-pi/2, pi/2)."""
    return (angle + np.pi / 2) % np.pi - np.pi / 2


def quarter_turn(angle: float) -> float:
    """The nearest multiple of pi/2."""
    return round(angle / (np.pi / 2)) * np.pi / 2


def pointing_down(yaw: float) -> np.ndarray:
    """The orientation [3, 3] of a hand that points down with its x axis at a heading (rad)."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]])


def between(first: np.ndarray, second: np.ndarray) -> float:
    """The angle of the turn from one orientation [3, 3] to another (rad)."""
    return float(np.arccos(np.clip((np.trace(first @ second.T) - 1) / 2, -1, 1)))


def turn_to(goal: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The rotation part [3] of an action that turns `present` to `goal`, both [3, 3], by the shorter way."""
    turn = goal @ present.T
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    length = np.linalg.norm(axis)
    return ROTATION_GAIN * between(goal, present) * axis / length if length > 1e-9 else np.zeros(3)
