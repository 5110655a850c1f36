"""What the image transformers are made of: patches, positions, attention, feed-forward layers, modulation.

Shapes: B batch, N tokens, D width, C channels, H x W the image or latent, p the patch's side.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-6


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


class RMSNorm(nn.Module):
    """x / rms(x) over the last axis, with a learned gain or without; computed in float32."""

    def __init__(self, width: int, gain: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width)) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        y = (wide * (wide.square().mean(-1, keepdim=True) + NORM_EPS).rsqrt()).to(x.dtype)
        return y if self.weight is None else y * self.weight.to(x.dtype)


class Attention(nn.Module):
    """Self-attention over all tokens.

    It calls PyTorch's fused kernel. The kernel has no forward derivative, so `isd_core.derivatives.ExactJVP` selects
    the mathematical backend around its own pass; central differences keep the fused one.
    `norm` is applied to each head's queries and keys (QK norm) where given.
    """

    def __init__(
        self, width: int, heads: int, q_norm: nn.Module | None = None, k_norm: nn.Module | None = None
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.q_norm = q_norm
        self.k_norm = k_norm

    def forward(self, x: Tensor, rotary: AxialRotary | None = None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, heads, N, D_head]
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotary(q), rotary(k)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.project(y.transpose(1, 2).flatten(2))


class GELUFeedForward(nn.Module):
    """Linear, GELU (tanh form), Linear; the hidden width is 4 D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class SwiGLUFeedForward(nn.Module):
    """silu(a) * b with (a, b) from one linear layer (2002.05202); the hidden width is 2/3 of 4 D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 4 * width * 2 // 3
        self.up = nn.Linear(width, 2 * hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


class Modulation(nn.Module):
    """SiLU and a linear layer from the condition to `parts` vectors of width D, zero at the start (adaLN-Zero)."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(width, parts * width)

    def forward(self, c: Tensor) -> tuple[Tensor, ...]:
        """c: [B, D] -> `parts` tensors [B, 1, D]."""
        return self.linear(F.silu(c)).unsqueeze(1).chunk(self.parts, dim=-1)


class LabelEmbedding(nn.Module):
    """One vector for each class and one for "no class": the null label is the number of classes."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, width)

    def forward(self, label: Tensor) -> Tensor:
        """label: [B] integers in [0, classes]; `classes` means none."""
        return self.table(label)
