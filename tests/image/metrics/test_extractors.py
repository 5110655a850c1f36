"""Feature extractors and reference statistics."""

import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_image.data import LabelledImages
from isd_image.metrics.extractors import CifarResNet, DigitPixels, Inception, Pixels, digest
from isd_image.metrics.reference import load_reference, of_images, of_split
from isd_image.metrics.resnet import ResNet
from isd_image.metrics.streaming import Images


@pytest.fixture
def images():
    return torch.randint(0, 256, (12, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_pixels_are_in_range(images):
    features, logits, _ = Pixels(None, 100)(images)
    assert features.shape == (12, 48)
    assert features.abs().max() <= 1
    assert logits is None


def test_pixels_averaged_over_cells(images):
    extractor = Pixels(2, 100)
    features = extractor(images).features
    assert extractor.name == "pixels2"
    assert features[0, 0] == pytest.approx(float(images[0, 0, :2, :2].float().mean() / 127.5 - 1), abs=1e-6)


def test_images_too_large_for_pixels_are_refused(images):
    with pytest.raises(InputError, match=r"extractor\.limit=10"):
        Pixels(None, 10)(images)


def test_the_digits_machine_knows_held_out_digits():
    from isd_image.data import Digits

    extractor = DigitPixels(360, 0)
    reference = of_split(Digits(360, 0).split("held_out"), "held_out", extractor)
    assert reference.accuracy > 0.97


def test_other_images_than_digits_are_refused_by_the_digits_machine(images):
    with pytest.raises(InputError, match=r"8 x 8 pixels; these are \[3, 4, 4\].*extractor=pixels"):
        DigitPixels(360, 0)(images)


@pytest.mark.parametrize("extractor", [lambda path: CifarResNet(20, path), lambda path: Inception(path, "cpu")])
@pytest.mark.parametrize("path", [None, "nowhere.pth"])
def test_missing_weights_say_how_to_get_them(extractor, path):
    with pytest.raises(InputError, match="Download"):
        extractor(path)


def test_a_file_that_is_not_inception_is_never_unpickled(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"something else")
    with pytest.raises(InputError, match="SHA-256"):
        Inception(str(tmp_path / "weights.pth"), "cpu")


@pytest.fixture
def resnet_file(tmp_path):
    torch.manual_seed(0)
    state = {f"module.{key}": value for key, value in ResNet(3).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "resnet20.th")
    return tmp_path / "resnet20.th"


def test_a_cifar_resnet(resnet_file):
    extractor = CifarResNet(20, str(resnet_file))
    features, logits, _ = extractor(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert (features.shape, logits.shape, extractor.name) == ((2, 64), (2, 10), "resnet20-cifar10")
    assert sum(p.numel() for p in ResNet(3).parameters()) == 269_722  # the published 0.27M (1512.03385, section 4.2)


def test_damaged_weights_are_named(tmp_path):
    (tmp_path / "resnet20.th").write_bytes(b"no weights" * 50)
    with pytest.raises(InputError, match=r"cannot be read from .*resnet20\.th"):
        CifarResNet(20, str(tmp_path / "resnet20.th"))


def test_weights_of_another_depth_are_refused(resnet_file):
    with pytest.raises(InputError, match="ResNet-56"):
        CifarResNet(56, str(resnet_file))


def test_statistics_survive_their_file(tree, tmp_path):
    extractor = Pixels(None, 1000)
    made = of_images(Images(str(tree), 8, 3), extractor)
    made.save(tmp_path / "stats.npz")
    loaded = load_reference(tmp_path / "stats.npz", extractor)
    assert torch.equal(loaded.gaussian.mean, made.gaussian.mean)
    assert torch.equal(loaded.gaussian.covariance, made.gaussian.covariance)
    assert (loaded.source, loaded.gaussian.n) == (made.source, 9)


def test_statistics_of_another_extractor_are_refused(tree, tmp_path):
    of_images(Images(str(tree), 8, 3), Pixels(None, 1000)).save(tmp_path / "stats.npz")
    other = Pixels(None, 1000)
    other.name = "other"
    with pytest.raises(InputError, match="an extractor with name `pixels`"):
        load_reference(tmp_path / "stats.npz", other)


def test_statistics_of_other_weights_are_refused(tree, tmp_path):
    of_images(Images(str(tree), 8, 3), Pixels(None, 1000)).save(tmp_path / "stats.npz")
    other = Pixels(None, 1000)
    other.weights = "something else"
    with pytest.raises(InputError, match="an extractor with weights `none`"):
        load_reference(tmp_path / "stats.npz", other)


def test_an_unreadable_image_of_a_reference_is_named(tree):
    (tree / "class_1" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"bad file class_1/broken\.png"):
        of_images(Images(str(tree), 8, 3), Pixels(None, 1000))


def test_published_statistics_count_as_inceptions(tmp_path):
    np.savez(tmp_path / "adm.npz", mu=np.zeros(4), sigma=np.eye(4))
    extractor = Pixels(None, 10)
    extractor.name = "inception-v3"
    assert load_reference(tmp_path / "adm.npz", extractor).features is None


def test_a_file_that_is_no_reference_is_named(tmp_path):
    (tmp_path / "stats.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"stats\.npz cannot be read"):
        load_reference(tmp_path / "stats.npz", Pixels(None, 10))


def test_a_split_is_measured_without_augmentation(images):
    data = LabelledImages(images, torch.zeros(12, dtype=torch.long), 1, "here", mirror=True)
    features = images.flatten(1).double() / 127.5 - 1
    made = of_split(data, "train", Pixels(None, 100))
    torch.testing.assert_close(made.gaussian.mean, features.mean(0), rtol=0, atol=1e-6)


def test_a_protocol_has_a_hash_of_its_content():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})
