"""The released iSD network: a transformer with RMSNorm, QK norm, SwiGLU and axial rotary positions (2601.22679)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isd_core.networks.embedding import TimeEmbedding
from isd_core.networks.transformer import Attention, Modulation, RMSNorm, SwiGLUFeedForward, run_block
from isd_core.support.fields import Depth, Index, Positive, Size
from isd_core.support.registry import register
from isd_image.networks.dit import check_sizes, initialise, labels_of
from isd_image.networks.layers import AxialRotary, LabelEmbedding, PatchEmbedding, sincos_positions, unpatchify


class TiTBlock(nn.Module):
    """As a DiT block, with RMSNorm, normalised queries and keys, rotary positions and SwiGLU.

    `gain` says whether the norms have a learned one.
    """

    def __init__(self, width: int, heads: int, gain: bool) -> None:
        super().__init__()
        self.norm1 = RMSNorm(width, gain)
        self.attention = Attention(width, heads, RMSNorm(width // heads, gain), RMSNorm(width // heads, gain))
        self.norm2 = RMSNorm(width, gain)
        self.feed_forward = SwiGLUFeedForward(width)
        self.modulation = Modulation(width, 6)

    def forward(self, x: Tensor, c: Tensor, rotary: AxialRotary) -> Tensor:
        """x: [B, N, D], c: [B, D] -> [B, N, D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1, rotary)
        return x + gate2 * self.feed_forward(self.norm2(x) * (1 + scale2) + shift2)


@register("network", "tit", head="image")
class TiT(nn.Module):
    """F(x; t, s, label) on images or latents [B, channels, size, size]; labels and `checkpointing` as in `DiT`."""

    positions: Tensor

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
        side = size // patch
        self.channels, self.patch, self.classes = channels, patch, classes
        self.checkpointing = checkpointing
        self.patches = PatchEmbedding(channels, width, patch)
        self.time = TimeEmbedding(width, max_frequency=max_frequency, features=features, clock=clock)
        self.label = LabelEmbedding(classes, width)
        self.register_buffer("positions", sincos_positions(width, side), persistent=False)
        self.rotary = AxialRotary(width // heads, side)
        self.blocks = nn.ModuleList(TiTBlock(width, heads, gain=False) for _ in range(depth))
        self.norm = RMSNorm(width, gain=False)
        self.modulation = Modulation(width, 2)
        self.head = nn.Linear(width, patch * patch * channels)
        initialise(self)

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """x: [B, C, H, W]; t, s: [B] in path time; cond["label"]: [B] -> F, of x's shape."""
        c = self.time(t, s) + self.label(labels_of(cond, x, self.classes))  # [B, D]
        h = self.patches(x) + self.positions  # [B, N, D]
        for block in self.blocks:
            h = run_block(block, h, c, self.rotary, recompute=self.checkpointing)
        shift, scale = self.modulation(c)
        h = self.head(self.norm(h) * (1 + scale) + shift)  # [B, N, p*p*C]
        return unpatchify(h, self.channels, self.patch)


@register("network", "in_context", head="image")
class InContext(nn.Module):
    """The larger iSD network: the guidance interval is an input, and the conditions are tokens too (2601.22679).

    Six embedders (t, s, omega, t_min, t_max, label) are summed for the modulation; besides, 8 tokens of the label and 4
    of each other condition join the image's tokens before block `context_from` and leave before the head. They have no
    place, so the rotary positions do not turn them. The norms have gains.

    `cond` may hold "omega" (guidance scale, 1 without), "t_min" and "t_max" (shares of T, 0 and 1 without), each [B].
    """

    inputs = ("omega", "t_min", "t_max")
    LABEL_TOKENS = 8
    OTHER_TOKENS = 4

    positions: Tensor

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
        context_from: Index,
        max_frequency: Positive = 1.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(size, width, heads, patch)
        side = size // patch
        self.channels, self.patch, self.classes = channels, patch, classes
        self.context_from, self.checkpointing = context_from, checkpointing
        self.clock = clock
        self.patches = PatchEmbedding(channels, width, patch)
        self.scalars = nn.ModuleDict(
            {
                name: TimeEmbedding(width, max_frequency=max_frequency, features="t", clock=_same)
                for name in ("t", "s", "omega", "t_min", "t_max")
            }
        )
        self.label = LabelEmbedding(classes, width)
        self.register_buffer("positions", sincos_positions(width, side), persistent=False)
        self.label_places = nn.Parameter(torch.empty(self.LABEL_TOKENS, width))
        self.other_places = nn.Parameter(torch.empty(self.OTHER_TOKENS, width))
        self.context = self.LABEL_TOKENS + self.OTHER_TOKENS * len(self.scalars)
        self.rotary = AxialRotary(width // heads, side)
        self.rotary_with_context = AxialRotary(width // heads, side, prefix=self.context)
        self.blocks = nn.ModuleList(TiTBlock(width, heads, gain=True) for _ in range(depth))
        self.norm = RMSNorm(width, gain=True)
        self.modulation = Modulation(width, 2)
        self.head = nn.Linear(width, patch * patch * channels)
        initialise(self)
        nn.init.normal_(self.label_places, std=0.02)
        nn.init.normal_(self.other_places, std=0.02)

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: dict[str, Tensor] | None = None) -> Tensor:
        """x: [B, C, H, W]; t, s: [B] in path time; cond as in the class's text -> F, of x's shape."""
        values = self._scalars(t, s, cond or {})
        scalars = [embed(value, value) for embed, value in zip(self.scalars.values(), values, strict=True)]
        label = self.label(labels_of(cond, x, self.classes))
        c = torch.stack([*scalars, label]).sum(0)  # [B, D]
        h = self.patches(x) + self.positions  # [B, N, D]
        rotary = self.rotary
        for i, block in enumerate(self.blocks):
            if i == self.context_from:
                h = torch.cat([self._context(label, scalars).to(h.dtype), h], dim=1)
                rotary = self.rotary_with_context
            h = run_block(block, h, c, rotary, recompute=self.checkpointing)
        h = h[:, -len(self.positions) :]
        shift, scale = self.modulation(c)
        h = self.head(self.norm(h) * (1 + scale) + shift)
        return unpatchify(h, self.channels, self.patch)

    def _scalars(self, t: Tensor, s: Tensor, cond: dict[str, Tensor]) -> list[Tensor]:
        """t, s, omega, t_min, t_max as the embedders see them: t and s on the network's clock."""
        ones = torch.ones_like(t)
        interval = [cond.get("omega", ones), cond.get("t_min", torch.zeros_like(t)), cond.get("t_max", ones)]
        return [self.clock(t), self.clock(s), *interval]

    def _context(self, label: Tensor, scalars: list[Tensor]) -> Tensor:
        """[B, 28, D]: each condition repeated, with a learned place inside its group."""
        groups = [label[:, None] + self.label_places]
        groups += [scalar[:, None] + self.other_places for scalar in scalars]
        return torch.cat(groups, dim=1)


def _same(t: Tensor) -> Tensor:
    return t
