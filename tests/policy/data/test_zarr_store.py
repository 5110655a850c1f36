import h5py
import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.data import read
from isd_policy.data.convert import convert
from isd_policy.data.description import describe
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons

zarr = pytest.importorskip("zarr", reason="the zarr extra is not installed")

KEYS = ["front_image", "object", "robot0_eef_pos"]


@pytest.fixture
def source(write_demos):
    """A robomimic file with pictures and two kinds of actions; the lengths cross the borders of chunks and blocks."""
    lengths = (12, 1, 300, 33)
    path = write_demos(lengths=lengths, masks={"train": ["demo_2", "demo_0"], "valid": ["demo_1"]})
    rng = np.random.default_rng(2)
    with h5py.File(path, "r+") as file:
        for i, n in enumerate(lengths):
            file[f"data/demo_{i}/obs/front_image"] = rng.integers(0, 256, (n, 6, 5, 3), np.uint8)
            file[f"data/demo_{i}/actions_abs"] = rng.normal(size=(n, 7))
    return path


@pytest.fixture
def store(source, tmp_path):
    convert(source, tmp_path / "demos.zarr")
    return tmp_path / "demos.zarr"


def batch_of(path, **options):
    data = ActionChunks(read(path, {"observation_keys": KEYS} | options), Horizons())
    return data.batch(torch.arange(len(data)))


@pytest.mark.parametrize("filter_key", [None, "train"])
@pytest.mark.parametrize("pictures", ["memory", "disk"])
def test_windows_are_those_of_the_source(source, store, pictures, filter_key):
    expected, found = (batch_of(p, pictures=pictures, filter_key=filter_key) for p in (source, store))
    assert torch.equal(found["action"], expected["action"])
    assert all(torch.equal(found["obs"][key], expected["obs"][key]) for key in KEYS)


def test_all_kinds_of_actions_are_converted(source, store):
    expected, found = (batch_of(path, action_key="actions_abs")["action"] for path in (source, store))
    assert torch.equal(found, expected)


def test_description_is_that_of_the_source(source, store):
    expected, found = describe(source), describe(store)
    assert dict(found.observations) == {key: tuple(shape) for key, shape in expected.observations.items()}
    assert (found.names, dict(found.actions), found.env_args) == (
        expected.names,
        dict(expected.actions),
        expected.env_args,
    )
    assert {key: tuple(names) for key, names in found.masks.items()} == dict(expected.masks)
    assert found.lengths.tolist() == expected.lengths.tolist()


def test_the_store_is_zarr_v3_in_chunks_of_a_few_pictures(store):
    array = zarr.open_group(store, mode="r")["data/front_image"]
    assert array.metadata.zarr_format == 3
    assert array.chunks == (8, 6, 5, 3)


def test_pictures_of_another_making_are_read_too(source, store):
    """Without our chunks zarr itself reads the windows."""
    group = zarr.open_group(store, mode="r+")
    values = group["data/front_image"][:]
    del group["data/front_image"]
    group["data"].create_array("front_image", data=values, chunks=(50, 6, 5, 3))
    expected, found = (batch_of(path, pictures="disk")["obs"]["front_image"] for path in (source, store))
    assert torch.equal(found, expected)


def test_an_existing_store_is_not_overwritten(source, store):
    with pytest.raises(InputError, match="exists already"):
        convert(source, store)


def test_a_conversion_that_fails_leaves_nothing(source, tmp_path):
    with h5py.File(source, "r+") as file:
        file["data/demo_3/obs/object"][2, 1] = np.nan
    with pytest.raises(InputError, match="nan at step 2"):
        convert(source, tmp_path / "new.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def refuse(path, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        read(path, {"observation_keys": KEYS} | options)
    assert str(path) in str(caught.value)


def test_a_missing_key_lists_the_known(store):
    refuse(store, "no data/color_image; there is: .*front_image", observation_keys=["color_image"])


def test_an_unknown_filter_key_lists_the_known(store):
    refuse(store, "it has: train, valid", filter_key="better")


def test_a_store_that_ends_early(store):
    group = zarr.open_group(store, mode="r+")
    group["data/actions"].resize((300, 7))
    refuse(store, "data/actions has 300 steps, meta/episode_ends says 346")


def test_a_store_of_unknown_making(store):
    group = zarr.open_group(store, mode="r+")
    group.attrs.put({})
    refuse(store, "does not say of which environment")


def test_nan_in_a_store(store):
    group = zarr.open_group(store, mode="r+")
    group["data/object"][5, 3] = np.nan
    refuse(store, "holds nan at step 5, column 3")


def test_an_empty_folder_is_no_store(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    refuse(tmp_path / "empty.zarr", "no file")
