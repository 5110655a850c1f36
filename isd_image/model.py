"""The trained thing: a network, and the scale of the data that it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor, nn

from isd_core.network import Cond, Trainable
from isd_core.support.errors import InputError

Draw = Callable[[Mapping[str, Tensor], Generator], Tensor]


class ChannelNormaliser(nn.Module):
    """(x - mean) / std with one mean and one std a channel; they live in the checkpoint.

    Raises `InputError` when they are not one number a channel, and when a std is zero or not finite.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        if mean.ndim != 1 or mean.shape != std.shape:
            raise InputError(
                f"Latent statistics have the shapes {list(mean.shape)} (mean) and {list(std.shape)} (std); expected "
                "one number a channel each."
            )
        if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
            raise InputError(f"Latent statistics are unusable: mean {mean.tolist()}, std {std.tolist()}.")
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] in the data's units -> normalised."""
        return (x - self.mean[:, None, None]) / self.std[:, None, None]

    def inverse(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W] normalised -> in the data's units."""
        return x * self.std[:, None, None] + self.mean[:, None, None]


class ImageModel(Trainable):
    """A network `net` and what turns a batch of the data set into its input.

    `draw` makes images or latents of a stored batch (`ImageData.draw`); a model that only samples has none.
    """

    def __init__(self, net: nn.Module, normaliser: ChannelNormaliser, draw: Draw | None = None) -> None:
        super().__init__()
        self.net = net
        self.normaliser = normaliser
        self._draw = draw

    def prepare(self, batch: Mapping[str, Tensor], rng: Generator) -> tuple[Tensor, Cond]:
        """A stored batch -> normalised x [B, C, H, W] and {"label": [B]}."""
        if self._draw is None:
            raise RuntimeError("this model was loaded to sample; it has no data to draw from")
        return self.normaliser(self._draw(batch, rng)), {"label": batch["label"]}
