"""The vector `object` of robosuite 1.4 and of robosuite 1.5, which mean different things by the same numbers.

Lift: the cube's place, its quaternion, and hand - cube; 1.5 has cube - hand.
Can, Square: the object's place and quaternion, then both in the hand's frame. 1.5 has the latter first, and they join
the object's pose at the previous observation with the hand's present one (zeros at a reset).
ToolHang: three such objects, then two flags.
Transport: poses (27), four differences (12), two flags; 1.5 has the flags before the differences.

What a file says of its version does not decide (files are converted, and extracted again): the numbers do, since an
object's place and the hand's give their difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

HAND = ("robot0_eef_pos", "robot0_eef_quat")
BLOCK = 14
"""An object of Can, Square and ToolHang: its pose, and its pose in the hand's frame."""
NEAR = 0.01
"""How far (m, median over steps) a difference may be from what the places give. Recorded live, places are a substep
old; the other layout is off by the objects' distances."""
OBJECTS = {"can": 1, "square": 1, "tool_hang": 3}
"""Objects whose pose in the hand's frame joins two observations."""

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Translation:
    """From robosuite 1.4's `object` to 1.5's. text: what it does, for the log."""

    text: str
    apply: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    """(object [N, d], hand's place [N, 3] and quaternion xyzw [N, 4], first rows of the episodes [E]) -> [N, d]"""


def translation_of(task: str, rows: Mapping[str, np.ndarray]) -> Translation | None:
    """What makes `object` robosuite 1.5's; None where it is that already, or neither layout explains it.

    rows: `object` and the keys of `HAND`, [N, d] of steps that follow each other.
    """
    if task not in _TASKS:
        return None
    layout = _TASKS[task]
    found, place, quaternion = rows["object"], *(rows[key] for key in HAND)
    if found.shape[1] != layout.size:
        return None
    new, old = (
        float(np.median(np.abs(difference(found, place, quaternion)).max(axis=1))) for difference in layout.differences
    )
    return layout.translation if old < NEAR and old < new else None


@dataclass(frozen=True)
class _Layout:
    """differences: how far (object, hand's place, its quaternion) is from 1.5's layout, and from 1.4's, [N, k] (m)."""

    size: int
    differences: tuple[Predict, Predict]
    translation: Translation


def remembering(task: str, earlier: Mapping[str, np.ndarray], now: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """An observation of a restored state as one in the middle of an episode.

    After a reset robosuite has seen no object, and says zeros for its pose in the hand's frame.
    """
    if task not in OBJECTS:
        return now
    own = now["object"].copy()
    place, quaternion = (now[key][None] for key in HAND)
    for index in range(OBJECTS[task]):
        pose = earlier["object"][None, BLOCK * index + 7 : BLOCK * (index + 1)]
        own[BLOCK * index : BLOCK * index + 7] = in_hand(pose, place, quaternion)[0]
    return {**now, "object": own}


def rotated(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Vectors [N, 3] turned by unit quaternions xyzw [N, 4]."""
    axis, w = quaternion[:, :3], quaternion[:, 3:]
    twice = 2.0 * np.cross(axis, vector)
    return vector + w * twice + np.cross(axis, twice)


def conjugate(quaternion: np.ndarray) -> np.ndarray:
    """The inverse turn."""
    return quaternion * np.array([-1.0, -1.0, -1.0, 1.0])


def product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Hamilton's product of quaternions xyzw [N, 4]."""
    a, p, b, q = first[:, :3], first[:, 3:], second[:, :3], second[:, 3:]
    return np.concatenate([p * b + q * a + np.cross(a, b), p * q - (a * b).sum(axis=1, keepdims=True)], axis=1)


def in_hand(pose: np.ndarray, place: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Poses [N, 7] (place, quaternion xyzw) in the frame of a hand at `place` [N, 3], `quaternion` [N, 4].

    The quaternion's last number is not negative, as in robosuite's `mat2quat`.
    """
    back = conjugate(quaternion)
    turned = product(back, pose[:, 3:])
    turned = np.where(turned[:, 3:] < 0, -turned, turned)
    return np.concatenate([rotated(back, pose[:, :3] - place), turned], axis=1)


# -- Lift ----------------------------------------------------------------------------------------------------------


def _flip_lift(found: np.ndarray, *_: np.ndarray) -> np.ndarray:
    return np.concatenate([found[:, :7], -found[:, 7:]], axis=1)


_LIFT = _Layout(
    10,
    (
        lambda found, place, _: found[:, 7:] - (found[:, :3] - place),
        lambda found, place, _: found[:, 7:] + (found[:, :3] - place),
    ),
    Translation("entries 7 to 9 (from the hand to the cube) change their sign", _flip_lift),
)

# -- Can, Square and ToolHang --------------------------------------------------------------------------------------


def _blocks(objects: int) -> _Layout:
    def difference(pose_first: bool) -> Predict:
        def off(found: np.ndarray, place: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
            parts = []
            for index in range(objects):
                block = found[:, BLOCK * index : BLOCK * (index + 1)]
                pose, relative = (block[:, :7], block[:, 7:]) if pose_first else (block[:, 7:], block[:, :7])
                off_now = relative[:, :3] - in_hand(pose, place, quaternion)[:, :3]
                off_before = relative[:, :3] - in_hand(np.roll(pose, 1, axis=0), place, quaternion)[:, :3]
                nearer = np.linalg.norm(off_now, axis=1) < np.linalg.norm(off_before, axis=1)
                parts.append(np.where(nearer[:, None], off_now, off_before))
            return np.concatenate(parts, axis=1)

        return off

    def translate(found: np.ndarray, place: np.ndarray, quaternion: np.ndarray, first: np.ndarray) -> np.ndarray:
        out = found.copy()
        for index in range(objects):
            begin = BLOCK * index
            pose = found[:, begin : begin + 7]
            relative = in_hand(np.roll(pose, 1, axis=0), place, quaternion)  # the pose of the observation before
            relative[first] = 0.0  # robosuite has seen no object yet
            out[:, begin : begin + BLOCK] = np.concatenate([relative, pose], axis=1)
        return out

    text = "an object's pose in the hand's frame comes before its pose, and joins the object of the observation before"
    size = BLOCK * objects + (2 if objects > 1 else 0)
    return _Layout(size, (difference(False), difference(True)), Translation(text, translate))


# -- Transport -----------------------------------------------------------------------------------------------------


def _transport() -> _Layout:
    def difference(column: int) -> Predict:
        return lambda found, place, _: found[:, column : column + 3] - (found[:, :3] - place)

    def translate(found: np.ndarray, *_: np.ndarray) -> np.ndarray:
        return np.concatenate([found[:, :27], found[:, 39:], found[:, 27:39]], axis=1)

    text = "the two flags come before the four differences (entries 39 and 40 become 27 and 28)"
    return _Layout(41, (difference(29), difference(27)), Translation(text, translate))


_TASKS: dict[str, _Layout] = {
    "lift": _LIFT,
    "can": _blocks(1),
    "square": _blocks(1),
    "tool_hang": _blocks(3),
    "transport": _transport(),
}
