"""What the transformers of both heads are made of: attention, feed-forward layers, norms, modulation, the DiT block.

Shapes: B batch, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from isd_core.networks.embedding import TimeEmbedding

NORM_EPS = 1e-6


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

    def forward(self, x: Tensor, rotary: nn.Module | None = None) -> Tensor:
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


class Mixed(NamedTuple):
    """Conditions of the tokens of a row: `usual` [B, D], and `other` [B, D] where `chosen` [B, N, 1] is true."""

    usual: Tensor
    other: Tensor
    chosen: Tensor


class Modulation(nn.Module):
    """SiLU and a linear layer from the condition to `parts` vectors of width D, zero at the start (adaLN-Zero)."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(width, parts * width)

    def forward(self, c: Tensor | Mixed) -> tuple[Tensor, ...]:
        """c: [B, D] -> `parts` tensors [B, 1, D]; [B, N, D] for a mixed condition."""
        if isinstance(c, Mixed):
            parts = zip(self(c.usual), self(c.other), strict=True)
            return tuple(torch.where(c.chosen, other, usual) for usual, other in parts)
        return self.linear(F.silu(c)).unsqueeze(1).chunk(self.parts, dim=-1)


class DiTBlock(nn.Module):
    """x + gate * attention(norm(x)), then the same with a feed-forward layer; the condition modulates both."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.feed_forward = GELUFeedForward(width)
        self.modulation = Modulation(width, 6)

    def forward(self, x: Tensor, c: Tensor | Mixed) -> Tensor:
        """x: [B, N, D], c: [B, D] or mixed -> [B, N, D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.feed_forward(self.norm2(x) * (1 + scale2) + shift2)


def run_block(block: nn.Module, *inputs: Tensor | nn.Module, recompute: bool) -> Tensor:
    """The block's output; with `recompute` its activations are not kept for the backward pass."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)


def initialise(network: nn.Module, starts: Mapping[type[nn.Module], Callable[[Any], None]]) -> None:
    """DiT's start: Xavier for linear layers, normal(0, 0.02) for time embeddings, zero for modulation and `head`.

    With these zeros every block is the identity and F = 0. starts: further kinds of modules, and how each begins.
    """
    kinds: dict[type[nn.Module], Callable[[Any], None]] = {nn.Linear: _linear, TimeEmbedding: _time}
    kinds |= {**starts, Modulation: _modulation}
    for kind, start in kinds.items():  # linear layers first: some of them are parts of the others
        for module in network.modules():
            if isinstance(module, kind):
                start(module)
    nn.init.zeros_(network.get_parameter("head.weight"))


def _linear(module: nn.Linear) -> None:
    nn.init.xavier_uniform_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _modulation(module: Modulation) -> None:
    nn.init.zeros_(module.linear.weight)


def _time(embedding: TimeEmbedding) -> None:
    for module in embedding.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
