"""The scale of the data, and what a batch becomes."""

import pytest
import torch

from isd_core.support.errors import InputError
from isd_image.data import LabelledImages
from isd_image.model import ChannelNormaliser, ImageModel


@pytest.fixture
def images():
    pixels = torch.randint(0, 256, (6, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return LabelledImages(pixels, torch.tensor([0, 1, 2, 0, 1, 2]), 3, "here", mirror=True)


def test_normalising_and_back():
    normaliser = ChannelNormaliser(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]))
    x = torch.randn(4, 2, 3, 3)
    torch.testing.assert_close(normaliser.inverse(normaliser(x)), x)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_statistics_that_cannot_scale_are_refused(std):
    with pytest.raises(InputError, match="statistics are unusable"):
        ChannelNormaliser(torch.zeros(1), torch.tensor([std]))


def test_the_scale_is_part_of_the_state():
    normaliser = ChannelNormaliser(torch.tensor([1.0]), torch.tensor([2.0]))
    assert normaliser.state_dict().keys() == {"mean", "std"}


def test_a_batch_becomes_scaled_images_and_labels(images):
    model = ImageModel(
        torch.nn.Identity(), ChannelNormaliser(torch.full((3,), 0.5), torch.full((3,), 2.0)), images.draw
    )
    x, cond = model.prepare(images.batch(torch.tensor([3, 5])), torch.Generator().manual_seed(0))
    straight = (images.images[[3, 5]].float() / 127.5 - 1 - 0.5) / 2
    for row, expected in zip(x, straight, strict=True):
        assert torch.equal(row, expected) or torch.equal(row, expected.flip(-1))
    assert cond["label"].tolist() == [0, 2]


def test_about_half_of_the_images_are_mirrored(images):
    batch = images.batch(torch.zeros(400, dtype=torch.long))
    x = images.draw(batch, torch.Generator().manual_seed(0))
    straight = images.images[0].float() / 127.5 - 1
    share = sum(bool(torch.equal(row, straight)) for row in x) / 400
    assert 0.4 < share < 0.6


def test_the_same_generator_gives_the_same_mirrors(images):
    batch = images.batch(torch.arange(6))
    once, again = (images.draw(batch, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(once, again)
