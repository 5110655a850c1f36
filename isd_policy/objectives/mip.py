"""Minimal iterative policy (arXiv 2512.01809): a regression and one denoising step, the strongest two-step baseline."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from isd_core.network import Cond, VelocityNet, noise_like, stack
from isd_core.objectives.base import Draw, LossOut, Objective
from isd_core.paths import Path
from isd_core.sampling import Sampler
from isd_core.support.registry import register
from isd_core.weighting import MSE, Discrepancy
from isd_policy.objectives.regression import output_at

T_STAR = 0.1  # of T; the paper's t* = 0.9 counts from noise to data


@register("objective", "mip", head="policy")
@dataclass(frozen=True)
class MIP(Objective):
    """|F(0; T) - x|^2 / 0.9^2 + |F(x + 0.1 z; 0.1 T) - x|^2 / 0.1^2; outputs are actions.

    Fixed points: E[x | cond] and E[x | x + 0.1 z, cond].
    """

    path: Path
    discrepancy: Discrepancy = field(default_factory=MSE)

    def draw(self, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """Noise and the time of the second look."""
        z = noise_like(x, cond, rng)
        t = torch.full((len(x),), T_STAR * self.path.T, device=x.device)
        return Draw(x, z, t, t, cond)

    def loss(self, net: VelocityNet, draw: Draw) -> LossOut:
        """Terms: regression and denoise, each [B], from one call of 2B."""
        x, z, t, s, cond = draw[:5]
        first = (torch.zeros_like(x), torch.full_like(t, self.path.T), torch.full_like(t, self.path.T), cond)
        action, clean = net(*stack([first, (x + T_STAR * z, t, s, cond)])).chunk(2)
        regression, denoise = self.discrepancy(action, x), self.discrepancy(clean, x)
        loss = regression / (1 - T_STAR) ** 2 + denoise / T_STAR**2
        return LossOut(loss.mean(), {"regression": regression.detach(), "denoise": denoise.detach()})


@register("sampler", "mip", head="policy")
@dataclass(frozen=True)
class MIPSampler(Sampler):
    """The first output, then (nfe = 2) the network's second look at it; no noise."""

    path: Path

    @property
    def max_nfe(self) -> int:
        return 2

    @property
    def usual_nfe(self) -> tuple[int, ...]:
        return (2,)

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        self.check_nfe(nfe)
        x = output_at(net, torch.zeros_like(z), self.path.T, cond)
        return x if nfe == 1 else output_at(net, x, T_STAR * self.path.T, cond)
