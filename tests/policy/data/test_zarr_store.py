import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import open_group
from isd_policy.data import read
from isd_policy.data.convert import convert
from isd_policy.data.description import describe
from isd_policy.data.windows import ActionChunks
from isd_policy.data.zarr_store import seal
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
    seal(store, group)
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
    seal(store, group)
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


# -- damage ------------------------------------------------------------------------------------------------------------


def everything(path, pictures):
    """Whatever a training could read of a store."""
    demonstrations = read(path, {"observation_keys": KEYS, "pictures": pictures})
    data = ActionChunks(demonstrations, Horizons())
    return [demonstrations.actions, data.batch(torch.arange(len(data)))]


def same(a, b):
    obs = all(torch.equal(a[1]["obs"][key], b[1]["obs"][key]) for key in KEYS)
    return obs and np.array_equal(a[0], b[0]) and torch.equal(a[1]["action"], b[1]["action"])


def chunks_of(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "zarr.json")


@pytest.mark.parametrize("pictures", ["memory", "disk"])
def test_no_flipped_bit_is_wrong_in_silence(store, pictures):
    """In chunks and in metadata alike."""
    rng, silent, refused = np.random.default_rng(0), [], []
    reference = everything(store, pictures)
    files = sorted(p for p in store.rglob("*") if p.is_file() and "actions_abs" not in str(p))
    for _ in range(30):
        file = files[rng.integers(len(files))]
        data = file.read_bytes()
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        try:
            if not same(everything(store, pictures), reference):
                silent.append(file)
        except InputError as error:
            refused.append(str(error))
        file.write_bytes(data)
    assert silent == []
    assert len(refused) > 20
    assert all(str(store) in message for message in refused)


@pytest.mark.parametrize("key", ["data/front_image", "data/object", "data/actions", "meta/episode_ends"])
def test_a_lost_chunk_is_found_on_opening(store, key):
    chunks_of(store / key)[0].unlink()
    refuse(store, f"1 of .* chunks of {key} are lost", pictures="disk")


def test_lost_metadata_is_found(store):
    (store / "data/actions_abs/zarr.json").unlink()
    refuse(store, "metadata")


def test_all_chunks_are_written_also_those_of_zeros(source, tmp_path):
    with h5py.File(source, "r+") as file:
        for i in range(4):
            file[f"data/demo_{i}/obs/front_image"][:] = 0
            file[f"data/demo_{i}/obs/object"][:] = 0
    convert(source, tmp_path / "zeros.zarr")
    batch = batch_of(tmp_path / "zeros.zarr", pictures="disk")
    assert not batch["obs"]["front_image"].any()


@pytest.fixture
def old_store(store):
    """A store as it was written before there were checksums, with a picture chunk of zeros left out."""
    group = zarr.open_group(store, mode="r+")
    for key in [*(f"data/{name}" for name, _ in group["data"].arrays()), "meta/episode_ends"]:
        values, chunks = group[key][:], group[key].chunks
        if key == "data/front_image":
            values[8:16] = 0
        del group[key]
        codec = zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="noshuffle")
        group.create_array(key, data=values, chunks=chunks, compressors=codec, fill_value=0)
    del group.attrs["metadata_sha256"]
    return store


@pytest.mark.parametrize("pictures", ["memory", "disk"])
def test_a_store_without_checksums_opens_and_says_what_is_unchecked(old_store, pictures, capsys):
    values = zarr.open_group(old_store, mode="r")["data/front_image"][:]
    capsys.readouterr()
    found = read(old_store, {"observation_keys": KEYS, "pictures": pictures}).observations["front_image"]
    said = capsys.readouterr().err
    assert "without checksums" in said
    assert "1 of 44 chunks of data/front_image are absent and read as zeros" in said
    rows = np.arange(13, 45)
    np.testing.assert_array_equal(found[rows[None]][0], values[rows])


@pytest.mark.parametrize("version", [2, 3])
def test_a_codec_that_unpickles_is_refused_before_anything_is_decoded(tmp_path, version, monkeypatch):
    import numcodecs

    monkeypatch.setattr(numcodecs.Pickle, "decode", lambda *_: pytest.fail("something was unpickled"))
    monkeypatch.setattr(numcodecs.Pickle, "from_config", lambda *_: pytest.fail("the codec was built"))
    path = tmp_path / "evil.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.create_array("data/actions", data=np.zeros((4, 2), np.float32))
    file = path / "data/actions" / (".zarray" if version == 2 else "zarr.json")
    about = json.loads(file.read_text())
    if version == 2:
        about["filters"] = [{"id": "pickle", "protocol": 5}]
    else:
        about["codecs"].insert(0, {"name": "numcodecs.pickle", "configuration": {"id": "pickle"}})
    file.write_text(json.dumps(about))
    for store in (path, zipped(path, tmp_path)):
        with pytest.raises(InputError, match=r"names the codec `(numcodecs\.)?pickle`"):
            open_group(store)


HIDDEN_CODECS = {
    "objects": {"zarr_format": 2, "dtype": "|O", "compressor": None, "filters": None},
    "structured": {"zarr_format": 2, "dtype": [["a", "|O"]], "compressor": None, "filters": None},
    "consolidated": {"metadata": {"data/x/.zarray": {"filters": [{"id": "msgpack2"}]}}},
    "sharded": {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "evil"}]}}]},
}


@pytest.mark.parametrize("kind", HIDDEN_CODECS)
def test_arrays_of_objects_and_nested_codecs_are_refused(tmp_path, kind):
    (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / ".zmetadata").write_text(json.dumps(HIDDEN_CODECS[kind]))
    with pytest.raises(InputError, match="names the codec"):
        open_group(tmp_path)


def zipped(path, tmp_path):
    return Path(shutil.make_archive(str(tmp_path / "x"), "zip", path))


def test_a_zipped_store_is_checked_too(store, tmp_path):
    archive = zipped(store, tmp_path)
    expected, found = (batch_of(path)["obs"]["front_image"] for path in (store, archive))
    assert torch.equal(found, expected)
    chunks_of(store / "data/front_image")[3].unlink()
    refuse(zipped(store, tmp_path), "1 of 44 chunks of data/front_image are lost")


@pytest.mark.parametrize("external", [False, True])
def test_a_chunk_that_became_a_link_is_refused_unless_allowed(store, tmp_path, external):
    """Pictures on disk are read for days after the store was opened first."""
    rows = read(store, {"observation_keys": KEYS, "pictures": "disk", "external": external}).observations["front_image"]
    chunk = chunks_of(store / "data/front_image")[0]
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    everything = np.arange(rows.shape[0])[:, None]
    if external:
        assert rows[everything].shape == (len(everything), 1, *rows.shape[1:])
    else:
        with pytest.raises(InputError, match=r"is a link to .*elsewhere.*external=true"):
            rows[everything]
