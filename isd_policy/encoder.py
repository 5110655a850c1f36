"""From observations to the conditioning vector of a network; the config group `encoder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from isd_core.support.errors import InputError
from isd_core.support.fields import OpenShare, Size
from isd_core.support.registry import register, role
from isd_policy.networks.camera import Camera, centre_crop, random_crop
from isd_policy.observations import ObservationSchema


@register("encoder", "observations")
@role("encoder", "encoders", given=("schema", "horizon"))
class ObservationEncoder(nn.Module):
    """The numbers as they are, and the features of every camera: [B, C], C being `size`.

    horizon: To; widths: of a fully connected network behind them, none if empty. Pictures are cropped to the share
    `crop` of their sides: at random where a generator is given, in the middle otherwise; keypoints and features: of
    each `Camera`. Raises `InputError` for a crop that is no share and for pictures that are not in colour.
    """

    def __init__(
        self,
        schema: ObservationSchema,
        horizon: int,
        widths: Sequence[Size] = (),
        crop: OpenShare = 0.9,
        keypoints: Size = 32,
        features: Size = 64,
    ) -> None:
        super().__init__()
        if not 0 < crop <= 1:
            raise InputError(f"encoder.crop={crop}: expected a share of a picture's sides, above 0 and at most 1.")
        for key in schema.pictures:
            if (channels := schema.shapes[key][2]) != 3:
                raise InputError(f"The picture `{key}` has {channels} channels; expected 3 (red, green, blue).")
        self.crop = crop
        self.cameras = nn.ModuleDict({key: Camera(keypoints, features) for key in schema.pictures})
        sizes = [horizon * (len(self.cameras) * features + schema.state_size), *widths]
        self.size = sizes[-1]
        self.body = nn.Sequential(*(layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.SiLU())))

    def forward(self, state: Tensor, pictures: Mapping[str, Tensor], rng: Generator | None = None) -> Tensor:
        """Normalised numbers [B, To, Do] and pictures key -> [B, To, H, W, 3] of bytes -> [B, C]."""
        parts = [self._features(key, pictures[key], rng) for key in self.cameras]
        encoded: Tensor = self.body(torch.cat([*parts, state], dim=-1).flatten(1))
        return encoded

    def _features(self, key: str, pictures: Tensor, rng: Generator | None) -> Tensor:
        """[B, To, H, W, 3] bytes -> [B, To, features]."""
        batch, steps, height, width, _ = pictures.shape
        sides = round(self.crop * height), round(self.crop * width)
        cropped = random_crop(pictures, sides, rng) if rng is not None else centre_crop(pictures, sides)
        x = cropped.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.cameras[key](x).unflatten(0, (batch, steps))
