"""A file of robosuite 1.4 trains what robosuite 1.5 observes; the file stays as it is."""

import h5py
import numpy as np
import pytest

from isd_policy.data import read
from isd_policy.data.convert import convert

KEYS = ["object", "robot0_gripper_qpos"]


@pytest.fixture
def consistent(write_demos):
    """A file of Lift whose differences from hand to cube have the given sign."""

    def write(sign):
        path = write_demos()
        with h5py.File(path, "r+") as file:
            for demo in file["data"].values():
                cube, hand = demo["obs/object"][:, :3], demo["obs/robot0_eef_pos"][()]
                demo["obs/object"][:, 7:] = sign * (cube - hand)
        return path

    return write


def rows(path):
    with h5py.File(path) as file:
        return np.concatenate([file[f"data/demo_{i}/obs/object"][()] for i in range(3)])


def test_the_sign_of_robosuite_1_4_is_turned_and_named(consistent, capsys):
    path = consistent(-1)
    found = read(path, {"observation_keys": KEYS}).observations["object"]
    expected = rows(path)
    expected[:, 7:] *= -1
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert "`object` is robosuite 1.4's; read as 1.5's: entries 7 to 9" in capsys.readouterr().err
    read(path, {"observation_keys": KEYS})
    assert capsys.readouterr().err == ""


def test_robosuite_1_5_is_left_alone(consistent, capsys):
    path = consistent(1)
    np.testing.assert_allclose(read(path, {"observation_keys": KEYS}).observations["object"], rows(path), rtol=1e-6)
    assert capsys.readouterr().err == ""


def test_without_the_hand_nothing_is_known_and_nothing_changed(consistent):
    path = consistent(-1)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            del demo["obs/robot0_eef_pos"]
    np.testing.assert_allclose(read(path, {"observation_keys": KEYS}).observations["object"], rows(path), rtol=1e-6)


def test_a_converted_file_is_translated_once(consistent, tmp_path):
    pytest.importorskip("zarr", reason="the zarr extra is not installed")
    path = consistent(-1)
    convert(path, tmp_path / "lift.zarr")
    found = read(tmp_path / "lift.zarr", {"observation_keys": KEYS}).observations["object"]
    np.testing.assert_array_equal(found, read(path, {"observation_keys": KEYS}).observations["object"])
