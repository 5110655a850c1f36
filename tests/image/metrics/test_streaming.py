"""Statistics of images that pass by: moments, processes, interruptions, unreadable files, ADM's names."""

import json

import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_image import reference
from isd_image.metrics import streaming
from isd_image.metrics.distances import Gaussian
from isd_image.metrics.extractors import Pixels
from isd_image.metrics.moments import Moments
from isd_image.metrics.reference import load_reference, of_images
from isd_image.metrics.streaming import Images, measure


def test_running_moments_are_those_of_all_features():
    """Far from zero, where sums of squares would lose all digits."""
    x = 1e6 + torch.randn(500, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    running = Moments()
    for part in x.split(33):
        running.add(part)
    made, expected = running.gaussian(), Gaussian.of(x)
    torch.testing.assert_close(made.mean, expected.mean, rtol=1e-15, atol=1e-9)
    torch.testing.assert_close(made.covariance, expected.covariance, rtol=0, atol=1e-10)
    assert made.n == 500


def test_features_that_are_not_finite_are_an_error():
    with pytest.raises(InputError, match="1 of 3 images are NaN"):
        Moments().add(torch.tensor([[1.0], [float("nan")], [2.0]]))


def test_one_image_has_no_covariance():
    running = Moments()
    running.add(torch.zeros(1, 3))
    with pytest.raises(InputError, match="at least two"):
        running.gaussian()


@pytest.fixture
def build(call, tree, tmp_path, monkeypatch):
    """build(name, *overrides): the exit code of the reference command, in parts of two images."""
    monkeypatch.setattr(streaming, "PART", 2)
    monkeypatch.setattr(streaming, "BATCH", 2)
    monkeypatch.setattr(streaming, "SAVE_SECONDS", 0)
    words = [f"images={tree}", "size=8", "extractor=pixels", "device=cpu"]
    return lambda name, *more: call(reference, "image_reference", f"out={tmp_path / name}", *words, *more)


def same(a, b) -> bool:
    with np.load(a) as one, np.load(b) as two:
        return one.files == two.files and all(np.array_equal(one[key], two[key]) for key in one.files)


def test_an_interrupted_reference_goes_on_and_ends_the_same(build, tmp_path, monkeypatch, capsys):
    assert build("whole.npz") == 0
    work, seen = streaming.PartWorker.__call__, []

    def stop_at_the_fourth(self, number):
        seen.append(number)
        if number == 3:
            raise KeyboardInterrupt
        return work(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(streaming.PartWorker, "__call__", stop_at_the_fourth)
        assert build("broken.npz") == 130
    assert not (tmp_path / "broken.npz").exists()
    seen.clear()
    monkeypatch.setattr(
        streaming.PartWorker, "__call__", lambda self, number: seen.append(number) or work(self, number)
    )
    assert build("broken.npz") == 0
    assert seen == [3, 4]
    assert same(tmp_path / "whole.npz", tmp_path / "broken.npz")
    assert not list(tmp_path.glob("*.unfinished.npz"))


def test_an_unfinished_reference_of_other_images_is_not_continued(build, tree, tmp_path, picture, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # noqa: E731
        patch.setattr(streaming, "check_bad", lambda bad, *_: None)
        work = streaming.PartWorker.__call__
        patch.setattr(streaming.PartWorker, "__call__", lambda self, n: stop() if n else work(self, n))
        assert build("r.npz") == 130
    picture(99).save(tree / "class_0" / "new.png")
    assert build("r.npz") == 2
    assert "begun with other images" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_change_nothing(call, tree, tmp_path):
    words = [f"images={tree}", "size=8", "extractor=pixels", "device=cpu"]
    for count in (1, 2):
        assert call(reference, "image_reference", f"out={tmp_path / f'{count}.npz'}", f"processes={count}", *words) == 0
    assert same(tmp_path / "1.npz", tmp_path / "2.npz")


def test_unreadable_images_count_against_a_share(build, tree, tmp_path, capsys):
    (tree / "class_1" / "broken.png").write_bytes(b"no picture")
    assert build("r.npz") == 2
    assert "bad file class_1/broken.png" in capsys.readouterr().err
    assert build("r.npz", "max_bad=0.2") == 0
    assert "9 images, 1 could not be read" in capsys.readouterr().out
    with np.load(tmp_path / "r.npz") as file:
        assert json.loads(str(file["about"]))["source"]["unreadable"] == 1
        assert file["arr_0"].shape == (9, 8, 8, 3)
        assert len(file["features"]) == 9


def test_the_kept_images_are_those_of_the_kept_features(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "KEPT", 4)
    wanted, extractor = Images(str(tree), 8, 3), Pixels(None, 1000)
    raw, sums = measure(wanted, extractor)
    images = np.concatenate(list(streaming.pictures(raw, sums, wanted).parts))
    found = extractor(torch.from_numpy(images).permute(0, 3, 1, 2)).features
    assert len(found) == 4
    assert torch.equal(found, torch.cat(sums.kept))


def broken(path, tree, **changes):
    of_images(Images(str(tree), 4, 3), Pixels(None, 1000)).save(path)
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(path, **(arrays | changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mu": np.full(48, np.nan)}, "NaN or infinite"),
        ({"sigma": np.full((48, 48), np.inf)}, "NaN or infinite"),
        ({"features": np.full((9, 48), np.nan, np.float32)}, "NaN or infinite"),
        ({"features": np.zeros((9, 5), np.float32)}, "features have the shape"),
        ({"sigma": np.zeros((48, 5))}, "expected \\[D\\] and"),
        ({"mu": np.zeros((2, 24))}, "expected \\[D\\] and"),
        ({"sigma": -np.eye(48)}, "no covariance"),
        ({"sigma": np.triu(np.ones((48, 48)))}, "no covariance"),
        ({"about": np.array("{}")}, "cannot be read"),
    ],
)
def test_statistics_that_cannot_be_are_refused(tree, tmp_path, changes, message):
    path = tmp_path / "r.npz"
    broken(path, tree, **changes)
    with pytest.raises(InputError, match=message):
        load_reference(path, Pixels(None, 1000))
