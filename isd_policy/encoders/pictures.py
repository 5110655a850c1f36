"""Observations with pictures: a ResNet-18 with group norm and a spatial softmax for each camera."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn

from isd_core.errors import InputError
from isd_policy.encoders.base import Encoder
from isd_policy.observations import ObservationSchema

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
    """Pictures [N, 3, h, w] in [-1, 1] -> features [N, features]. The trunk is torchvision's ResNet-18, untrained."""

    def __init__(self, keypoints: int, features: int) -> None:
        super().__init__()
        from torchvision.models import resnet18

        whole = resnet18(weights=None, norm_layer=lambda width: nn.GroupNorm(width // CHANNELS_PER_GROUP, width))
        self.trunk = nn.Sequential(*list(whole.children())[:-2])
        self.places = SpatialSoftmax(TRUNK_CHANNELS, keypoints)
        self.project = nn.Linear(2 * keypoints, features)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.project(self.places(self.trunk(pictures)))


class PictureEncoder(Encoder):
    """The features of every camera beside the numbers, [B, To * (cameras * features + Do)].

    Pictures are cropped to `crop` pixels a side: at random where a generator is given, in the middle otherwise.
    Raises `InputError` without torchvision, without pictures, and for a crop that does not fit one of them.
    """

    def __init__(
        self, schema: ObservationSchema, horizon: int, crop: int = 76, keypoints: int = 32, features: int = 64
    ) -> None:
        super().__init__()
        if not schema.pictures:
            raise InputError(
                f"encoder=pictures needs a picture among the observations ({', '.join(schema.shapes)} are numbers): "
                "name one in dataset.observation_keys, or use encoder=state."
            )
        for key in schema.pictures:
            height, width, channels = schema.shapes[key]
            if channels != 3 or not 0 < crop <= min(height, width):
                raise InputError(
                    f"The picture `{key}` is {height} x {width} with {channels} channels: expected 3 channels and at "
                    f"least encoder.crop={crop} pixels a side."
                )
        self.keys, self.crop = schema.pictures, crop
        self.size = horizon * (len(self.keys) * features + schema.state_size)
        try:
            self.cameras = nn.ModuleDict({key: Camera(keypoints, features) for key in self.keys})
        except ImportError as error:
            raise InputError(
                f"encoder=pictures needs torchvision, of the same build as torch ({error}): pip install "
                "'isd-flow[pictures]'."
            ) from error

    def forward(self, state: Tensor, pictures: Mapping[str, Tensor], rng: Generator | None = None) -> Tensor:
        parts = [self._features(key, pictures[key], rng) for key in self.keys]
        return torch.cat([*parts, state], dim=-1).flatten(1)

    def _features(self, key: str, pictures: Tensor, rng: Generator | None) -> Tensor:
        """[B, To, H, W, 3] bytes -> [B, To, features]."""
        batch, steps = pictures.shape[:2]
        cropped = random_crop(pictures, self.crop, rng) if rng is not None else centre_crop(pictures, self.crop)
        x = cropped.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.cameras[key](x).unflatten(0, (batch, steps))


def random_crop(pictures: Tensor, side: int, rng: Generator) -> Tensor:
    """[B, To, H, W, C] -> [B, To, side, side, C]; one place a row, the same for its To pictures."""
    batch, _, height, width, _ = pictures.shape
    device = pictures.device
    top, left = (torch.randint(edge - side + 1, (batch, 1), generator=rng, device=device) for edge in (height, width))
    along, row = torch.arange(side, device=device), torch.arange(batch, device=device)
    moved = pictures.movedim(1, 3)  # [B, H, W, To, C]
    return moved[row[:, None, None], (top + along)[:, :, None], (left + along)[:, None, :]].movedim(3, 1)


def centre_crop(pictures: Tensor, side: int) -> Tensor:
    """[B, To, H, W, C] -> [B, To, side, side, C]."""
    top, left = ((edge - side) // 2 for edge in pictures.shape[2:4])
    return pictures[:, :, top : top + side, left : left + side]
