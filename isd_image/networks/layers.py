"""What is peculiar to transformers of images: patches, positions in the plane, labels.

Shapes: B batch, N tokens, D width, C channels, H x W the image or latent, p the patch's side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PatchEmbedding(nn.Module):
    """Cuts [B, C, H, W] into patches of p x p and projects each: [B, N, D], row by row. A convolution of stride p."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x).flatten(2).transpose(1, 2)


def unpatchify(tokens: Tensor, channels: int, patch: int) -> Tensor:
    """[B, N, p*p*C] -> [B, C, H, W]; within a token the order is (row, column, channel), as in DiT (2212.09748)."""
    side = math.isqrt(tokens.shape[1])
    x = tokens.unflatten(1, (side, side)).unflatten(3, (patch, patch, channels))  # [B, h, w, p, p, C]
    x = x.permute(0, 5, 1, 3, 2, 4)  # [B, C, h, p, w, p]
    return x.flatten(4, 5).flatten(2, 3)


def sincos_positions(width: int, side: int) -> Tensor:
    """Fixed sine and cosine positions, [side * side, width]: half the width for the column, half for the row.

    Frequencies fall from 1 to 1e-4 per patch (ViT, MAE, DiT). `width` must be a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"width {width} is not a multiple of 4, which two-dimensional positions need")
    omega = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * omega  # [side, D/4]
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)  # [side, D/2]
    column = axis.repeat(side, 1)
    row = axis.repeat_interleave(side, 0)
    return torch.cat([column, row], dim=1).float()


class AxialRotary(nn.Module):
    """Two-dimensional rotary positions (2104.09864): half of each head turns with the row, half with the column.

    Pairs are neighbours (0, 1), (2, 3), ... The first `prefix` tokens are not turned: they have no place.
    Nothing here is learned or stored in the state.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, head_width: int, side: int, prefix: int = 0, theta: float = 10_000.0) -> None:
        super().__init__()
        if head_width % 4:
            raise ValueError(f"a head of width {head_width} cannot be split into rotated pairs for two axes")
        half = head_width // 2
        omega = theta ** -(torch.arange(0, half, 2, dtype=torch.float64) / half)  # [D_head / 4]
        angles = torch.arange(side, dtype=torch.float64)[:, None] * omega.repeat_interleave(2)  # [side, D_head / 2]
        row = angles[:, None].expand(side, side, half)
        column = angles[None, :].expand(side, side, half)
        grid = torch.cat([row, column], dim=2).flatten(0, 1)  # [N, D_head]
        grid = torch.cat([grid.new_zeros(prefix, head_width), grid])
        self.register_buffer("cos", grid.cos().float(), persistent=False)
        self.register_buffer("sin", grid.sin().float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, heads, N, D_head], queries or keys. A shorter table than N tokens is a caller's error."""
        pairs = x.unflatten(-1, (-1, 2))
        quarter_turn = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
        return x * self.cos.to(x.dtype) + quarter_turn * self.sin.to(x.dtype)


class LabelEmbedding(nn.Module):
    """One vector for each class and one for "no class": the null label is the number of classes."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, width)

    def forward(self, label: Tensor) -> Tensor:
        """label: [B] integers in [0, classes]; `classes` means none."""
        return self.table(label)
