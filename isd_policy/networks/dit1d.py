"""A diffusion transformer over action chunks: every action is a token (DiT, arXiv 2212.09748, in one dimension)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isd_core.network import KNOWN, Cond
from isd_core.networks import transformer
from isd_core.networks.embedding import TimeEmbedding
from isd_core.networks.transformer import NORM_EPS, DiTBlock, Mixed, Modulation
from isd_core.support.errors import InputError
from isd_core.support.fields import Depth, Positive, Size
from isd_core.support.registry import register
from isd_policy.networks.interval import GUIDANCE, interval
from isd_policy.networks.prefix import PREFIX, predicted, with_prefix


@register("network", "dit1d", head="policy")
class DiT1D(nn.Module):
    """F(x; t, s, obs) for chunks x [B, horizon, action_size] and cond["obs"] [B, condition_size].

    The times and the observations modulate every block (adaLN-Zero); positions are learned. guided: it also takes the
    guidance interval, as `UNet1D` does. prefix_time: where it is given, the first actions of a chunk may be given as
    `cond["prefix"]`, marked by `cond["known"]`: their tokens have this time of the path, that of data. Raises
    `InputError` for a width that the heads do not divide.
    """

    def __init__(
        self,
        *,
        action_size: int,
        condition_size: int,
        horizon: int,
        clock: Callable[[Tensor], Tensor],
        width: Size = 192,
        depth: Depth = 6,
        heads: Size = 6,
        features: str = "t_s",
        max_frequency: Positive = 1.0,
        guided: bool = False,
        prefix_time: float | None = None,
    ) -> None:
        super().__init__()
        self.told, self.prefix_time = GUIDANCE if guided else (), prefix_time
        self.inputs = self.told if prefix_time is None else (*self.told, PREFIX, KNOWN)
        if width % heads:
            raise InputError(f"network.width={width} must be a multiple of network.heads={heads}.")
        self.embed = nn.Linear(action_size, width)
        self.positions = nn.Parameter(0.02 * torch.randn(horizon, width))
        self.time = TimeEmbedding(width, clock=clock, features=features, max_frequency=max_frequency)
        seen = condition_size + len(self.told)
        self.condition = nn.Sequential(nn.Linear(seen, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(DiTBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.modulation = Modulation(width, 2)
        self.head = nn.Linear(width, action_size)
        transformer.initialise(self, {})

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        """x: [B, horizon, action_size]; t, s: [B] in path time; cond["obs"]: [B, condition_size] -> F like x."""
        obs = torch.cat([cond["obs"], interval(t, cond)], dim=-1) if self.told else cond["obs"]
        seen = self.condition(obs)  # [B, D]
        usual = self.time(t, s) + seen
        c: Tensor | Mixed = usual
        if self.prefix_time is not None:
            x, clean = with_prefix(x, cond), torch.full_like(t, self.prefix_time)
            c = Mixed(usual, self.time(clean, clean) + seen, cond[KNOWN] > 0)
        h = self.embed(x) + self.positions  # [B, T, D]
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.modulation(c)
        F = self.head(self.norm(h) * (1 + scale) + shift)
        return F if self.prefix_time is None else predicted(F, cond)
