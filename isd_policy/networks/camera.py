"""From a picture to features: random crops, a ResNet-18 with group norm, a spatial softmax."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from isd_core.support.errors import InputError

CHANNELS_PER_GROUP = 16
TRUNK_CHANNELS = 512


class SpatialSoftmax(nn.Module):
    """[N, C, h, w] feature maps -> [N, 2 K]: the mean place of each of K attention maps, in [-1, 1] (1509.06113)."""

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.attend = nn.Conv2d(channels, keypoints, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.attend(x)
        height, width = maps.shape[-2:]
        weights = maps.flatten(2).softmax(-1).unflatten(-1, (height, width))  # [N, K, h, w]
        row = torch.linspace(-1, 1, height, device=x.device, dtype=weights.dtype)
        column = torch.linspace(-1, 1, width, device=x.device, dtype=weights.dtype)
        places = torch.stack([(weights.sum(-2) * column).sum(-1), (weights.sum(-1) * row).sum(-1)], dim=-1)
        return places.flatten(1)


class Camera(nn.Module):
    """Pictures [N, 3, h, w] in [-1, 1] -> features [N, features]. The trunk is torchvision's ResNet-18, untrained.

    Raises `InputError` without torchvision, which nothing else of a policy needs.
    """

    def __init__(self, keypoints: int, features: int) -> None:
        super().__init__()
        try:
            from torchvision.models import resnet18
        except ImportError as error:
            raise InputError(
                f"Pictures among the observations need torchvision, of the same build as torch ({error}): pip install "
                "'isd-flow[pictures]'."
            ) from error
        whole = resnet18(weights=None, norm_layer=lambda width: nn.GroupNorm(width // CHANNELS_PER_GROUP, width))
        self.trunk = nn.Sequential(*list(whole.children())[:-2])
        self.places = SpatialSoftmax(TRUNK_CHANNELS, keypoints)
        self.project = nn.Linear(2 * keypoints, features)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.project(self.places(self.trunk(pictures)))


def random_crop(pictures: Tensor, sides: tuple[int, int], rng: Generator) -> Tensor:
    """[B, To, H, W, C] -> [B, To, h, w, C] for sides (h, w); one place a row, the same for its To pictures."""
    batch, device = len(pictures), pictures.device
    rows, columns = (
        torch.randint(edge - side + 1, (batch, 1), generator=rng, device=device) + torch.arange(side, device=device)
        for edge, side in zip(pictures.shape[2:4], sides, strict=True)
    )
    moved = pictures.movedim(1, 3)  # [B, H, W, To, C]
    row = torch.arange(batch, device=device)[:, None, None]
    return moved[row, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


def centre_crop(pictures: Tensor, sides: tuple[int, int]) -> Tensor:
    """[B, To, H, W, C] -> [B, To, h, w, C] for sides (h, w)."""
    top, left = ((edge - side) // 2 for edge, side in zip(pictures.shape[2:4], sides, strict=True))
    return pictures[:, :, top : top + sides[0], left : left + sides[1]]
