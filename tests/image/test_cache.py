"""The latent cache: what it holds, how it resumes, what it refuses, and training from it."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isd_core.support.errors import InputError
from isd_image import cache, commands, encode, evaluate, sample
from isd_image.data import Cache
from isd_image.data.crop import centre_crop, to_tensor
from isd_image.data.decode import decode
from isd_image.data.raw import open_images
from isd_image.metrics.extractors import Pixels
from isd_image.metrics.reference import of_images, of_split
from isd_image.metrics.streaming import Images

PIXELS = ["codec=identity", "size=16", "shard_size=2", "batch_size=2", "device=cpu"]


@pytest.fixture
def build(call):
    """build(tree, out, *overrides): the exit code of the cache command."""
    return lambda tree, out, *more: call(cache, "image_cache", f"images={tree}", f"out={out}", *PIXELS, *more)


def opened(out, **changes):
    fields = {"root": str(out), "codec": "identity", "factor": 1, "size": 16, "mirror": False}
    return Cache(**(fields | changes)).split("train")


def test_rows_are_the_images_and_their_mirrors(build, tree, tmp_path):
    assert build(tree, tmp_path / "c", "dtype=float32") == 0
    data = opened(tmp_path / "c")
    assert (len(data), data.shape, data.classes) == (18, (3, 16, 16), 3)
    raw = open_images(str(tree))
    batch = data.batch(torch.tensor([0, 1, 17]))
    first = to_tensor(centre_crop(decode(raw.read(0)), 16), 3).float() / 127.5 - 1
    torch.testing.assert_close(batch["moments"][0], first)
    torch.testing.assert_close(batch["moments"][1], first.flip(-1))
    assert batch["label"].tolist() == [0, 0, 2]


def test_the_statistics_are_those_of_the_rows(build, tree, tmp_path):
    build(tree, tmp_path / "c", "dtype=float32")
    data = opened(tmp_path / "c")
    x = data.batch(torch.arange(len(data)))["moments"]
    mean, std = data.statistics()
    torch.testing.assert_close(mean, x.mean((0, 2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(std, x.std((0, 2, 3), correction=0), rtol=1e-5, atol=0)


def test_a_gaussian_codec_is_sampled_in_training(build, tree, tmp_path, monkeypatch):
    def with_std(self, images):
        return images, torch.full_like(images, 0.5)

    monkeypatch.setattr("isd_image.codecs.Identity.encode", with_std)
    build(tree, tmp_path / "c", "dtype=float32", "mirror=false")
    data = opened(tmp_path / "c")
    batch = data.batch(torch.arange(9))
    assert batch["moments"].shape == (9, 6, 16, 16)
    x = data.draw(batch, torch.Generator().manual_seed(0))
    assert (x - batch["moments"][:, :3]).std() == pytest.approx(0.5, rel=0.05)
    spread = batch["moments"][:, :3].var((0, 2, 3), correction=0) + 0.25
    torch.testing.assert_close(data.statistics()[1].square(), spread, rtol=1e-5, atol=0)


def test_bytes_come_back_as_pixels(build, tree, tmp_path):
    build(tree, tmp_path / "c", "dtype=uint8", "mirror=false")
    data = opened(tmp_path / "c", mirror=True)
    batch = data.batch(torch.tensor([3]))
    x = data.draw(batch, torch.Generator().manual_seed(0))
    straight = batch["moments"].float() / 127.5 - 1
    assert torch.equal(x, straight) or torch.equal(x, straight.flip(-1))
    assert data.statistics()[1].tolist() == [1, 1, 1]
    assert torch.equal(data.pixels(batch), batch["moments"])


def test_a_cache_of_bytes_is_a_reference_and_one_of_latents_is_not(build, tree, tmp_path):
    build(tree, tmp_path / "bytes", "dtype=uint8", "mirror=false")
    build(tree, tmp_path / "latents")
    extractor = Pixels(None, 1000)
    made = of_split(opened(tmp_path / "bytes"), "train", extractor)
    expected = of_images(Images(str(tree), 16, 3), extractor)
    torch.testing.assert_close(made.gaussian.mean, expected.gaussian.mean)
    with pytest.raises(InputError, match="no pixels"):
        of_split(opened(tmp_path / "latents"), "train", extractor)


def test_an_interrupted_run_goes_on_without_loss_or_duplicates(build, tree, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert build(tree, whole) == 0
    encode_shard = encode.Encoder.shard

    def stop_at_the_third(self, number):
        if number == 2:
            raise KeyboardInterrupt
        return encode_shard(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(encode.Encoder, "shard", stop_at_the_third)
        assert build(tree, broken) == 130
    assert not (broken / "cache.json").exists()
    made = {path.name: path.stat().st_mtime_ns for path in broken.glob("*.safetensors")}
    assert len(made) == 2
    assert build(tree, broken) == 0
    assert made == {name: (broken / name).stat().st_mtime_ns for name in made}
    for path in whole.glob("*.safetensors"):
        a, b = load_file(path), load_file(broken / path.name)
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_several_processes_give_the_same_cache(build, tree, tmp_path):
    assert build(tree, tmp_path / "one") == 0
    assert build(tree, tmp_path / "two", "processes=2") == 0
    index = [json.loads((tmp_path / name / "cache.json").read_text()) for name in ("one", "two")]
    assert index[0] == index[1]


def test_another_codec_or_crop_is_refused_and_nothing_overwritten(build, tree, tmp_path, capsys):
    out = tmp_path / "c"
    build(tree, out)
    before = (out / "cache.json").read_bytes()
    assert build(tree, out, "size=8") == 2
    assert "begun with size = 16" in capsys.readouterr().err
    assert build(tree, out, "codec.name=other") == 2
    assert "codec" in capsys.readouterr().err
    assert (out / "cache.json").read_bytes() == before


def test_unreadable_images_are_listed_up_to_a_share(build, tree, tmp_path, capsys):
    (tree / "class_1" / "broken.png").write_bytes(b"\x89PNG but not really")
    assert build(tree, tmp_path / "c") == 2
    assert "class_1/broken.png" in capsys.readouterr().err
    assert not (tmp_path / "c" / "cache.json").exists()
    assert build(tree, tmp_path / "c", "max_bad=0.2") == 0
    index = json.loads((tmp_path / "c" / "cache.json").read_text())
    assert index["images"] == 9
    assert index["unreadable"][0].startswith("class_1/broken.png")


def test_latents_that_are_not_finite_are_refused(build, tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("isd_image.codecs.Identity.encode", lambda self, x: (x / 0, None))
    assert build(tree, tmp_path / "c") == 2
    assert "class_0/0.png" in capsys.readouterr().err


def test_a_different_number_of_classes_is_an_error(build, tree, tmp_path, capsys):
    assert build(tree, tmp_path / "c", "classes=1000") == 2
    assert "has 3 classes" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"codec": "sd-vae-ft-mse"}, "encoded by the codec"),
        ({"size": 32}, "images of 16 pixels"),
        ({"root": "x"}, "exist"),
    ],
)
def test_a_cache_of_something_else_is_refused(build, tree, tmp_path, changes, message):
    build(tree, tmp_path / "c")
    with pytest.raises(InputError, match=message):
        opened(tmp_path / "c", **changes)


def test_missing_statistics_are_an_error(build, tree, tmp_path):
    build(tree, tmp_path / "c")
    path = tmp_path / "c" / "cache.json"
    index = json.loads(path.read_text())
    del index["std"]
    path.write_text(json.dumps(index))
    with pytest.raises(InputError, match="no latent statistics"):
        opened(tmp_path / "c")


def test_a_cut_off_shard_is_an_error(build, tree, tmp_path):
    build(tree, tmp_path / "c")
    path = tmp_path / "c" / "shard_00001.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cut off"):
        opened(tmp_path / "c")


def test_a_finished_cache_is_checked_by_the_same_command(build, tree, tmp_path, capsys):
    out = tmp_path / "c"
    assert build(tree, out) == 0
    before = (out / "cache.json").read_bytes()
    assert build(tree, out) == 0
    assert (out / "cache.json").read_bytes() == before
    shard = out / "shard_00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert build(tree, out) == 2
    assert "shard_00001.safetensors is damaged" in capsys.readouterr().err
    assert (out / "cache.json").read_bytes() == before


def test_an_index_that_is_none_is_named(build, tree, tmp_path):
    build(tree, tmp_path / "c")
    (tmp_path / "c" / "cache.json").write_text('{"format": 1}')
    with pytest.raises(InputError, match="no index of a cache"):
        opened(tmp_path / "c")


SMALL = ["network.width=16", "network.depth=1", "network.heads=2", "trainer.steps=2", "trainer.batch_size=4"]


def test_unlabelled_images_from_cache_to_samples(build, call, tree, tmp_path, capsys):
    flat = tree / "class_0"
    assert build(flat, tmp_path / "c") == 0
    data = ["data=celebahq256", "codec=identity", "data.channels=3", "data.size=16"]
    words = [*data, f"data.source.root={tmp_path / 'c'}", *SMALL, "trainer.device=cpu", f"run_dir={tmp_path / 'run'}"]
    assert call(commands.train, "image_train", *words) == 2
    assert "has no labels" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert call(commands.train, "image_train", *words, "guidance=none") == 0
    out = tmp_path / "s.npz"
    assert call(sample, "image_sample", f"checkpoint={tmp_path / 'run'}", f"out={out}", "nfe=[1]", "count=6") == 0
    measured = [f"samples={out}", f"reference={flat}", "extractor=pixels", "extractor.side=2"]
    assert call(evaluate, "image_evaluate", *measured) == 0


def test_a_codec_of_other_weights_than_the_caches_is_refused(build, call, tree, tmp_path, monkeypatch, capsys):
    build(tree, tmp_path / "c")
    monkeypatch.setattr("isd_image.codecs.Identity.weights", "something else")
    data = ["data=imagenet32", "data.size=16", "data.classes=3", f"data.source.root={tmp_path / 'c'}"]
    assert call(commands.train, "image_train", *data, *SMALL, f"run_dir={tmp_path / 'run'}") == 2
    assert "encoded by the codec `identity` with weights none" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_on_another_cache_but_on_a_moved_one(build, call, tree, tmp_path, picture, capsys):
    build(tree, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    picture(77).save(tree / "class_0" / "0.png")
    build(tree, tmp_path / "b")
    words = ["data=imagenet32", "data.size=16", "data.classes=3", *SMALL, "grids=null", f"run_dir={tmp_path / 'run'}"]
    words += ["trainer.device=cpu"]
    assert call(commands.train, "image_train", *words, f"data.source.root={tmp_path / 'a'}") == 0
    assert call(commands.train, "image_train", *words, f"data.source.root={tmp_path / 'moved'}", "trainer.steps=3") == 0
    capsys.readouterr()
    assert call(commands.train, "image_train", *words, f"data.source.root={tmp_path / 'b'}", "trainer.steps=4") == 2
    assert "was trained on other data: there content.data.sha256 is" in capsys.readouterr().err


def test_training_from_a_cache(build, call, tree, tmp_path):
    build(tree, tmp_path / "c")
    data = ["data=imagenet32", "data.size=16", "data.classes=3", f"data.source.root={tmp_path / 'c'}"]
    run_dir = tmp_path / "run"
    assert call(commands.train, "image_train", *data, *SMALL, "trainer.device=cpu", f"run_dir={run_dir}") == 0
    saved = load_file(next(run_dir.glob("checkpoints/*/model.safetensors")))
    index = json.loads((tmp_path / "c" / "cache.json").read_text())
    np.testing.assert_allclose(saved["normaliser.mean"], index["mean"], rtol=1e-6)
