"""Formats of others that are mappings with a name: D4RL, UMI, Minari."""

import json

import h5py
import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_policy.data import read
from isd_policy.data.description import describe
from isd_policy.data.uses import uses

RNG = np.random.default_rng(0)


@pytest.fixture
def d4rl(tmp_path):
    path = tmp_path / "hopper.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = RNG.normal(size=(20, 11)), RNG.normal(size=(20, 3))
        file["rewards"] = np.zeros(20)
        file["terminals"], file["timeouts"] = np.arange(20) == 6, np.arange(20) == 15
        file["infos/qpos"] = RNG.normal(size=(20, 6))
    return path


def test_d4rl(d4rl):
    found = read(d4rl, {})
    assert found.lengths.tolist() == [7, 9, 4] and found.schema.shapes == {"state": (11,)}
    assert found.env_args is None and describe(d4rl).kind == "D4RL HDF5"
    other = read(d4rl, {"reader": "d4rl", "observations": {"qpos": "infos/qpos"}})
    assert other.schema.shapes == {"qpos": (6,)}


def umi(path, arrays):
    zarr = pytest.importorskip("zarr", reason="the zarr extra is not installed")
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name, values in arrays.items():
        group.create_array(name, data=values)
    return path


def test_umi(tmp_path):
    poses = {
        f"data/robot0_{key}": RNG.normal(size=(12, size)).astype(np.float32)
        for key, size in {"eef_pos": 3, "eef_rot_axis_angle": 3, "gripper_width": 1}.items()
    }
    ends = {"meta/episode_ends": np.array([5, 12])}
    path = umi(tmp_path / "poses.zarr", poses | ends)
    found = read(path, {})
    assert list(found.observations) == ["robot0_eef_pos", "robot0_eef_rot_axis_angle", "robot0_gripper_width"]
    np.testing.assert_array_equal(found.actions, np.concatenate(list(poses.values()), axis=1))
    assert found.lengths.tolist() == [5, 7]
    camera = {"data/camera0_rgb": RNG.integers(0, 256, (12, 8, 8, 3), np.uint8)}
    whole = umi(tmp_path / "whole.zarr", poses | ends | camera)
    assert describe(whole).observations["camera0_rgb"] == (8, 8, 3)


def write_minari(folder, observations, env_spec):
    path = folder / "data" / "main_data.hdf5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        for i, length in enumerate((4, 11)):
            episode = file.create_group(f"episode_{i}")
            episode.attrs.update({"id": i, "total_steps": length})
            for key, size in observations.items():
                episode[f"observations{key}"] = RNG.normal(size=(length + 1, size))
            episode["actions"] = RNG.normal(size=(length, 2))
            for key in ("rewards", "terminations", "truncations"):
                episode[key] = np.zeros(length)
    metadata = {"dataset_id": "toy/test-v0", "total_episodes": 2, "data_format": "hdf5"}
    if env_spec is not None:
        metadata["env_spec"] = json.dumps(env_spec)
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
    return folder


def test_minari(tmp_path):
    spec = {"id": "Pendulum-v1", "entry_point": "gymnasium.envs:Pendulum", "kwargs": {"g": 9.8}}
    folder = write_minari(tmp_path / "dict", {"/goal": 2, "/hand/place": 3}, spec)
    for path in (folder, folder / "data" / "main_data.hdf5"):
        found = read(path, {})
        assert found.schema.shapes == {"goal": (2,), "hand_place": (3,)}
        assert found.lengths.tolist() == [4, 11] and len(found.actions) == 15
        assert found.env_args == {"type": "gymnasium", "env_name": "Pendulum-v1", "env_kwargs": {"g": 9.8}}
    with h5py.File(folder / "data" / "main_data.hdf5") as file:
        np.testing.assert_allclose(found.observations["goal"][:4], file["episode_0/observations/goal"][:4], rtol=1e-6)
    plain = write_minari(tmp_path / "plain", {"": 5}, None)
    described = describe(plain)
    assert described.observations == {"state": (5,)} and described.kind == "Minari HDF5"
    train, replay, _ = uses(described)
    assert not train.missing and "names no environment" in replay.missing


def test_minari_with_an_observation_too_few(tmp_path):
    folder = write_minari(tmp_path / "set", {"": 5}, None)
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_1/observations"]
        file["episode_1/observations"] = np.zeros((11, 5))
    with pytest.raises(InputError, match="has 11 steps, and the actions of that episode have 11; expected 12"):
        read(folder, {})


def test_a_named_format_that_the_file_is_not(d4rl):
    with pytest.raises(InputError, match=r"no episode_0/actions of Minari\. It holds actions"):
        read(d4rl, {"reader": "minari"})
