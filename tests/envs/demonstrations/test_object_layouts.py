"""robosuite 1.4's `object` becomes what robosuite 1.5 observes, for every task; the numbers decide, not the version."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isd_envs.demonstrations.object_layouts import HAND, in_hand, product, translation_of
from isd_envs.tasks import ROBOSUITE_TASKS

STEPS = 40
FIRST = np.array([0, 25])


def path(rng: np.random.Generator, step: float) -> np.ndarray:
    """Poses [STEPS, 7] of something that moves slowly: place (m), quaternion xyzw."""
    place = rng.normal(size=3) + np.cumsum(rng.normal(scale=step, size=(STEPS, 3)), axis=0)
    turned = np.cumsum(rng.normal(scale=step, size=(STEPS, 3)), axis=0)
    turns = Rotation.from_rotvec(rng.normal(size=3)) * Rotation.from_rotvec(turned)
    return np.concatenate([place, turns.as_quat()], axis=1)


def before(pose: np.ndarray) -> np.ndarray:
    return np.concatenate([pose[:1], pose[:-1]])


def both(task: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """(1.4's object, 1.5's object, the hand) of the same made-up episodes, as the two versions compute them."""
    rng = np.random.default_rng(3)
    hand = path(rng, 0.01)
    rows = {HAND[0]: hand[:, :3], HAND[1]: hand[:, 3:]}
    if task == "lift":
        cube = path(rng, 0.001)
        away = cube[:, :3] - hand[:, :3]
        return np.concatenate([cube, -away], 1), np.concatenate([cube, away], 1), rows
    if task == "transport":
        poses, flags = rng.normal(size=(STEPS, 27)), np.zeros((STEPS, 2))
        away = [poses[:, :3] - hand[:, :3], poses[:, 14:17] - hand[:, :3], rng.normal(size=(STEPS, 6))]
        return np.concatenate([poses, *away, flags], 1), np.concatenate([poses, flags, *away], 1), rows
    old, new = [], []
    for _ in range({"tool_hang": 3}.get(task, 1)):
        pose = path(rng, 0.01)
        lagging = in_hand(before(pose), hand[:, :3], hand[:, 3:])
        lagging[FIRST] = 0.0
        old += [pose, in_hand(pose, hand[:, :3], hand[:, 3:])]
        new += [lagging, pose]
    flags = [np.zeros((STEPS, 2))] if task == "tool_hang" else []
    return np.concatenate([*old, *flags], 1), np.concatenate([*new, *flags], 1), rows


@pytest.mark.parametrize("task", ROBOSUITE_TASKS)
def test_the_old_layout_is_recognised_and_becomes_the_new_one(task: str) -> None:
    old, new, hand = both(task)
    assert old.shape[1] == ROBOSUITE_TASKS[task].object_size
    translation = translation_of(task, {"object": old, **hand})
    assert translation is not None
    np.testing.assert_allclose(translation.apply(old, *hand.values(), FIRST), new, atol=1e-12)


@pytest.mark.parametrize("task", ROBOSUITE_TASKS)
def test_the_new_layout_is_left_alone(task: str) -> None:
    _, new, hand = both(task)
    assert translation_of(task, {"object": new, **hand}) is None


@pytest.mark.parametrize("task", ROBOSUITE_TASKS)
def test_what_neither_explains_is_left_alone(task: str) -> None:
    _, new, hand = both(task)
    noise = np.random.default_rng(1).normal(size=new.shape)
    assert translation_of(task, {"object": noise, **hand}) is None
    assert translation_of(task, {"object": new[:, :-1], **hand}) is None


def test_quaternions_are_those_of_scipy() -> None:
    rng = np.random.default_rng(2)
    first, second = Rotation.random(20, random_state=1), Rotation.random(20, random_state=2)
    found = product(first.as_quat(), second.as_quat())
    np.testing.assert_allclose(Rotation.from_quat(found).as_matrix(), (first * second).as_matrix(), atol=1e-12)
    pose = np.concatenate([rng.normal(size=(20, 3)), second.as_quat()], axis=1)
    relative = in_hand(pose, np.zeros((20, 3)), first.as_quat())
    np.testing.assert_allclose(relative[:, :3], first.inv().apply(pose[:, :3]), atol=1e-12)
    assert (relative[:, 6] >= 0).all()
