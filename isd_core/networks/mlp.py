"""A small fully connected F for data [B, d]: toys, tests, quick comparisons of objectives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from isd_core.network import Cond
from isd_core.networks.embedding import TimeEmbedding


class MLP(nn.Module):
    """F(x; t, s) for x [B, dim]; the conditioning is ignored."""

    def __init__(
        self,
        dim: int,
        *,
        clock: Callable[[Tensor], Tensor],
        width: int = 256,
        depth: int = 3,
        max_frequency: float = 4.0,
    ) -> None:
        super().__init__()
        self.time = TimeEmbedding(
            64, clock=clock, combine="concat", frequency_dim=32, max_frequency=max_frequency, hidden=64
        )
        sizes = [dim + 64] + [width] * depth
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.body = nn.Sequential(*layers, nn.Linear(width, dim))

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond | None = None) -> Tensor:
        return self.body(torch.cat([x, self.time(t, s).to(x.dtype)], dim=-1))
