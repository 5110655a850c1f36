"""DiT: the plain diffusion transformer with adaLN-Zero (2212.09748), with two times."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isd_core.networks import transformer
from isd_core.networks.embedding import TimeEmbedding
from isd_core.networks.transformer import NORM_EPS, DiTBlock, Modulation, run_block
from isd_core.support.errors import InputError
from isd_core.support.fields import Depth, Positive, Size
from isd_core.support.registry import register
from isd_image.networks.layers import LabelEmbedding, PatchEmbedding, sincos_positions, unpatchify


@register("network", "dit", head="image")
class DiT(nn.Module):
    """F(x; t, s, label) on images or latents [B, channels, size, size].

    The label is a class in [0, classes) or `classes` for none; without `cond` every row has none. `checkpointing`
    recomputes each block in the backward pass: less memory, about a third more time.
    Raises `InputError` for sizes that do not fit each other.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        clock: Callable[[Tensor], Tensor],
        width: Size,
        depth: Depth,
        heads: Size,
        patch: Size,
        features: str = "t_s",
        max_frequency: Positive = 1.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(size, width, heads, patch)
        self.channels, self.patch, self.classes = channels, patch, classes
        self.checkpointing = checkpointing
        self.patches = PatchEmbedding(channels, width, patch)
        self.time = TimeEmbedding(width, max_frequency=max_frequency, features=features, clock=clock)
        self.label = LabelEmbedding(classes, width)
        self.register_buffer("positions", sincos_positions(width, size // patch), persistent=False)
        self.blocks = nn.ModuleList(DiTBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.modulation = Modulation(width, 2)
        self.head = nn.Linear(width, patch * patch * channels)
        initialise(self)

    positions: Tensor

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """x: [B, C, H, W]; t, s: [B] in path time; cond["label"]: [B] -> F, of x's shape."""
        c = self.time(t, s) + self.label(labels_of(cond, x, self.classes))  # [B, D]
        h = self.patches(x) + self.positions  # [B, N, D]
        for block in self.blocks:
            h = run_block(block, h, c, recompute=self.checkpointing)
        shift, scale = self.modulation(c)
        h = self.head(self.norm(h) * (1 + scale) + shift)  # [B, N, p*p*C]
        return unpatchify(h, self.channels, self.patch)


def check_sizes(size: int, width: int, heads: int, patch: int) -> None:
    """`InputError` unless the patch divides the image, and the heads the width."""
    if size % patch:
        raise InputError(f"network.patch={patch} does not divide the image or latent side of {size} pixels.")
    if width % heads or width % 4:
        raise InputError(f"network.width={width} must be a multiple of 4 and of network.heads={heads}.")


def labels_of(cond: dict[str, Tensor] | None, x: Tensor, classes: int) -> Tensor:
    """[B] labels: those given, otherwise the null label for every row."""
    if cond is not None and "label" in cond:
        return cond["label"]
    return torch.full((len(x),), classes, dtype=torch.long, device=x.device)


def initialise(network: nn.Module) -> None:
    """DiT's start (`isd_core.networks.transformer.initialise`); patches like linear layers, labels normal(0, 0.02)."""
    transformer.initialise(network, {PatchEmbedding: _patches, LabelEmbedding: _labels})


def _patches(module: PatchEmbedding) -> None:
    nn.init.xavier_uniform_(module.project.weight.flatten(1))
    if module.project.bias is not None:
        nn.init.zeros_(module.project.bias)


def _labels(module: LabelEmbedding) -> None:
    nn.init.normal_(module.table.weight, std=0.02)
