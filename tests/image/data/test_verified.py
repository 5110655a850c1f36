"""A cache is compared with its hashes before it is trained on."""

import json

import pytest

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_image import cache
from isd_image.data import Cache, verified


@pytest.fixture
def out(call, tree, tmp_path):
    place = tmp_path / "c"
    words = ["codec=identity", "size=16", "shard_size=4", "device=cpu"]
    assert call(cache, "image_cache", f"images={tree}", f"out={place}", *words) == 0
    return place


def opened(out):
    return Cache(root=str(out), codec="identity", factor=1, size=16, mirror=False).split("train")


def flip(path, place=-1):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("place", [-1, -500, 200])
def test_a_flipped_bit_in_a_cache_is_found_before_training(out, place):
    flip(out / "shard_00001.safetensors", place)
    with pytest.raises(InputError, match="shard_00001"):
        opened(out)


def test_a_lost_shard_is_named(out):
    (out / "shard_00001.safetensors").unlink()
    with pytest.raises(InputError, match="shard_00001"):
        opened(out)


def test_the_shards_are_read_once_and_again_after_a_change(out, monkeypatch):
    read, sha256 = [], files.sha256
    monkeypatch.setattr(verified.files, "sha256", lambda path: read.append(path.name) or sha256(path))
    opened(out)
    assert len(read) == 3
    opened(out)
    assert len(read) == 3
    flip(out / "shard_00002.safetensors")
    with pytest.raises(InputError, match="shard_00002"):
        opened(out)
    assert read[3:] == ["shard_00002.safetensors"]


def test_a_memory_that_cannot_be_read_is_none(out):
    opened(out)
    (out / "verified.json").write_text("nonsense")
    flip(out / "shard_00000.safetensors")
    with pytest.raises(InputError, match="shard_00000"):
        opened(out)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda index: index.update(classes=2), "labels up to 2"),
        (lambda index: index["mean"].append(0.0), "4 means"),
        (lambda index: index["codec"].update(channels=1), "3 means"),
        (lambda index: index["shards"][0].update(images=3), "holds moments of the shape"),
        (lambda index: index.update(shards=[]), "names no shards"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(out, change, message):
    index = json.loads((out / "cache.json").read_text())
    change(index)
    (out / "cache.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=message):
        opened(out)
