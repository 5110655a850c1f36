"""Push-T's recording, by the three episodes in tests/data/pusht."""

import shutil
import zipfile

import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import open_group
from isd_envs.engines.pusht.observations import KEYPOINTS
from isd_policy.data import read
from isd_policy.data.convert import convert
from isd_policy.data.description import describe
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons

pytest.importorskip("zarr", reason="the zarr extra is not installed")


@pytest.fixture
def recording(pytestconfig):
    return pytestconfig.rootpath / "tests/data/pusht/three_episodes.zarr.zip"


def test_the_recording_is_read_as_it_is(recording):
    group = open_group(recording)
    data = read(recording, {"observation_keys": ["agent_pos", "block_pos", "image"]})
    np.testing.assert_array_equal(data.actions, group["data/action"][:])
    np.testing.assert_array_equal(data.observations["agent_pos"], group["data/state"][:, :2])
    np.testing.assert_array_equal(data.observations["image"], group["data/img"][:].astype(np.uint8))
    assert data.lengths.tolist() == [60, 56, 49]
    assert data.env_args["env_name"] == "Push-T"


def test_keypoints_are_those_of_the_recording(recording):
    recorded = open_group(recording)["data/keypoint"][:].reshape(-1, 18)
    found = read(recording, {"observation_keys": ["keypoints"]}).observations["keypoints"]
    assert np.sqrt(np.mean((found - recorded) ** 2)) < 0.05
    assert np.abs(KEYPOINTS).max() > 100


def test_windows_of_pictures_are_the_same_from_every_place(recording, tmp_path):
    convert(recording, tmp_path / "pusht.zarr")
    rows = []
    for path, pictures in ((recording, "memory"), (recording, "disk"), (tmp_path / "pusht.zarr", "disk")):
        data = ActionChunks(read(path, {"observation_keys": ["image"], "pictures": pictures}), Horizons())
        rows.append(data.batch(torch.arange(0, len(data), 9)))
    for other in rows[1:]:
        assert torch.equal(other["obs"]["image"], rows[0]["obs"]["image"])
        assert torch.equal(other["action"], rows[0]["action"])


def test_a_recording_without_pictures_is_one_of_states(recording, tmp_path):
    path = tmp_path / "states.zarr.zip"
    with zipfile.ZipFile(recording) as whole, zipfile.ZipFile(path, "w") as states:
        for entry in whole.infolist():
            if "/img/" not in f"/{entry.filename}":
                states.writestr(entry, whole.read(entry))
    assert "image" not in describe(path).observations
    assert len(read(path, {"observation_keys": ["keypoints"]}).actions) == 165
    with pytest.raises(InputError, match="no observation `image`; there is: agent_pos"):
        read(path, {"observation_keys": ["image"]})


@pytest.mark.parametrize(
    "options, match",
    [
        ({"observation_keys": ["object"]}, "no observation `object`; there is: agent_pos"),
        ({"observation_keys": ["agent_pos"], "action_key": "actions_abs"}, "actions=recorded"),
        ({"observation_keys": ["agent_pos"], "filter_key": "train"}, "no filter keys"),
    ],
)
def test_what_the_recording_does_not_have(recording, options, match):
    with pytest.raises(InputError, match=match):
        read(recording, options)


@pytest.mark.parametrize("key", ["data/state", "data/action", "data/img"])
def test_a_lost_chunk_of_the_recording_is_found_on_opening(recording, tmp_path, key):
    shutil.unpack_archive(recording, tmp_path / "copy", "zip")
    (folder,) = (tmp_path / "copy").rglob(key)
    next(path for path in sorted(folder.iterdir()) if not path.name.startswith(".")).unlink()
    with pytest.raises(InputError, match=f"chunks of .*{key} are lost"):
        read(folder.parents[1], {"observation_keys": ["agent_pos"]})
