"""Smooth embeddings of the two times of a flow map.

The derivative of a network in time is part of the objective, so high frequencies in its time features become gradient
noise: the highest frequency stays near 1 to a few radians per unit of the network's clock, and everything is computed
in float32 or wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from isd_core.support.errors import InputError

FEATURES = {
    "t": lambda t, s: (t,),
    "dt": lambda t, s: (t - s,),
    "t_s": lambda t, s: (t, s),
    "t_dt": lambda t, s: (t, t - s),
}


def fourier(t: Tensor, dim: int, max_frequency: float) -> Tensor:
    """[B] times to [B, dim] cosines and sines; frequencies fall geometrically from `max_frequency` by 1e4."""
    half = dim // 2
    t = t.to(torch.promote_types(t.dtype, torch.float32))
    exponent = torch.arange(half, device=t.device, dtype=t.dtype) / half
    phase = t[:, None] * (max_frequency * torch.exp(-math.log(1e4) * exponent))
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """(t, s), both [B] in path time, to [B, width]: one small network a feature, their outputs joined or summed.

    `features` is one of t, dt, t_s, t_dt (dt = t - s on the network's clock). With `combine="concat"` each feature gets
    an equal part of `width`.
    """

    def __init__(
        self,
        width: int,
        *,
        clock: Callable[[Tensor], Tensor],
        features: str = "t_s",
        combine: str = "sum",
        frequency_dim: int = 256,
        max_frequency: float = 1.0,
        hidden: int | None = None,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        if features not in FEATURES:
            raise InputError(f"time features `{features}` are unknown; known: {', '.join(FEATURES)}.")
        if combine not in ("sum", "concat"):
            raise InputError(f"time features are combined by `sum` or `concat`, not `{combine}`.")
        self.clock, self.features, self.combine = clock, features, combine
        self.frequency_dim, self.max_frequency = frequency_dim, max_frequency
        count = 2 if "_" in features else 1
        part = width // count if combine == "concat" else width
        if combine == "concat" and part * count != width:
            raise InputError(f"an embedding width of {width} cannot be shared by {count} time features.")
        hidden = part if hidden is None else hidden
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(frequency_dim, hidden), activation(), nn.Linear(hidden, part)) for _ in range(count)
        )

    def forward(self, t: Tensor, s: Tensor) -> Tensor:
        times = FEATURES[self.features](self.clock(t), self.clock(s))
        parts = [
            mlp(fourier(time, self.frequency_dim, self.max_frequency))
            for mlp, time in zip(self.mlps, times, strict=True)
        ]
        return torch.cat(parts, dim=-1) if self.combine == "concat" else torch.stack(parts).sum(0)
