"""Recorded observations against those of the restored states: what differs, by how much, and what explains it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from isd_envs.demonstrations import demo_file
from isd_envs.demonstrations.comparison import CannotCompareError, _picture_difference, differences
from isd_envs.engines.robosuite_engine import RobosuiteEngine
from isd_envs.engines.slot import EnvSlot
from isd_envs.spec import EnvSpec

Change = Callable[[h5py.Group], None]


@pytest.fixture(scope="module")
def recorded(lift: RobosuiteEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations of Lift, recorded live."""
    slot = EnvSlot(lift.spec)
    slot._engine = lift
    found = [slot.demonstrate(1, index, 0.05, max_steps=40, extra_steps=0) for index in range(2)]
    out = tmp_path_factory.mktemp("demos") / "lift.hdf5"
    demo_file.write(out, found, EnvSpec().env_args, {}, 0.0, 1)
    return out


@pytest.fixture
def compare(recorded: Path, lift: RobosuiteEngine, tmp_path: Path) -> Callable[[Change], list[str]]:
    """compare(change): the differences of a file whose observations were changed, `known: ` before known ones."""

    def made(change: Change) -> list[str]:
        path = tmp_path / "changed.hdf5"
        shutil.copy(recorded, path)
        with h5py.File(path, "r+") as file:
            for demo in file["data"].values():
                change(demo["obs"])
        return [f"known: {d}" if d.known else str(d) for d in differences(path, engine=lift)]

    return made


def test_what_was_recorded_here_is_what_is_observed_here(compare: Callable[[Change], list[str]]) -> None:
    assert compare(lambda obs: None) == []


def flip_cube(obs: h5py.Group) -> None:
    obs["object"][:, 7:] *= -1


def w_first(obs: h5py.Group) -> None:
    obs["robot0_eef_quat"][:] = np.roll(obs["robot0_eef_quat"][()], 1, axis=1)


def half_of_the_signs(obs: h5py.Group) -> None:
    obs["robot0_eef_quat"][::2] *= -1


def millimetres(obs: h5py.Group) -> None:
    obs["robot0_eef_pos"][:] *= 1000


def backwards(obs: h5py.Group) -> None:
    obs["robot0_joint_pos"][:] = obs["robot0_joint_pos"][()][:, ::-1]


def negative(obs: h5py.Group) -> None:
    obs["robot0_eef_pos"][:, 1:] *= -1


def noise(obs: h5py.Group) -> None:
    obs["robot0_eef_pos"][:] = np.random.default_rng(1).normal(size=obs["robot0_eef_pos"].shape)


def shorter(obs: h5py.Group) -> None:
    values = obs["robot0_joint_pos"][()]
    del obs["robot0_joint_pos"]
    obs["robot0_joint_pos"] = values[:, :6]


@pytest.mark.parametrize(
    "change, expected",
    [
        (flip_cube, "known: object: it is robosuite 1.4's, and is read as 1.5's: entries 7 to 9"),
        (w_first, "robot0_eef_quat: entries 0 to 3 differ by up to"),
        (w_first, "the quaternion's w comes first there, and last here"),
        (half_of_the_signs, "the other sign in some steps, which is the same rotation"),
        (millimetres, "they are 1000 times as large there"),
        (backwards, "the simulator's [6, 5, 4, 3, 2, 1, 0]"),
        (negative, "robot0_eef_pos: entries 1 to 2 differ by up to"),
        (negative, "their sign is the other one"),
        (noise, "nothing known explains it"),
        (shorter, "robot0_joint_pos: 6 numbers in the file, 7 in the simulator"),
    ],
)
def test_a_difference_is_named_and_explained(
    compare: Callable[[Change], list[str]], change: Change, expected: str
) -> None:
    (found,) = compare(change)
    assert expected in found


@pytest.mark.parametrize("key", ["states", "obs"])
def test_a_file_of_observations_or_states_alone_is_not_compared(
    recorded: Path, lift: RobosuiteEngine, tmp_path: Path, key: str
) -> None:
    path = tmp_path / "part.hdf5"
    shutil.copy(recorded, path)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            del demo[key]
    with pytest.raises(CannotCompareError, match="no states, or no observations"):
        differences(path, engine=lift)


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda pictures: pictures, ""),
        (lambda pictures: pictures[:, ::-1], "upside down"),
        (lambda pictures: pictures[:, :, ::-1], "mirrored"),
        (lambda pictures: pictures[:, ::-1, ::-1], "turned by half a circle"),
        (lambda pictures: pictures[..., ::-1], "BGR instead of RGB"),
        (lambda pictures: pictures[:, ::-1, :, ::-1], "upside down and BGR"),
        (lambda pictures: pictures[:, :8], "pictures of"),
    ],
)
def test_turned_and_recoloured_pictures_are_named(change: Callable[[np.ndarray], np.ndarray], expected: str) -> None:
    rng = np.random.default_rng(5)
    scene = np.kron(rng.integers(0, 255, (4, 4, 4, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
    drawn = np.clip(scene + rng.normal(scale=8, size=scene.shape), 0, 255).astype(np.uint8)  # another renderer
    found = _picture_difference(change(scene), drawn)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_training_refuses_what_it_does_not_know_and_takes_what_is_allowed(recorded: Path, tmp_path: Path) -> None:
    from isd_core.support.errors import InputError
    from isd_policy.data import read
    from isd_policy.data.checks import check_observations

    path = tmp_path / "changed.hdf5"
    shutil.copy(recorded, path)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            w_first(demo["obs"])
            flip_cube(demo["obs"])
    demonstrations = read(path, {"observation_keys": ["object", "robot0_eef_quat", "robot0_gripper_qpos"]})
    with pytest.raises(InputError, match=r"w comes first.*dataset.allow_differences=\[robot0_eef_quat\]"):
        check_observations(demonstrations, [], False)
    check_observations(demonstrations, ["robot0_eef_quat"], False)
