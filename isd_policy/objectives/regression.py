"""Plain regression: the conditional mean, as the yardstick for what a generative policy adds."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from isd_core.network import Cond, VelocityNet
from isd_core.objectives.base import Draw, LossOut, Objective
from isd_core.paths import Path
from isd_core.sampling import Sampler
from isd_core.support.registry import register
from isd_core.weighting import MSE, Discrepancy


def output_at(net: VelocityNet, x: Tensor, time: float, cond: Cond) -> Tensor:
    """The network's output for x at one path time, t = s."""
    t = torch.full((x.shape[0],), time, device=x.device)
    return net(x, t, t, cond)


@register("objective", "regression", head="policy")
@dataclass(frozen=True)
class Regression(Objective):
    """E |F(0; T, T) - x|^2: the output from a zero input is the action itself. Its fixed point is E[x | cond]."""

    path: Path
    discrepancy: Discrepancy = field(default_factory=MSE)

    def draw(self, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """No noise; the time T."""
        t = torch.full((len(x),), self.path.T, device=x.device)
        return Draw(x, torch.zeros_like(x), t, t, cond)

    def loss(self, net: VelocityNet, draw: Draw) -> LossOut:
        """Term: regression, [B]."""
        error = self.discrepancy(net(draw.z, draw.t, draw.s, draw.cond), draw.x)
        return LossOut(error.mean(), {"regression": error.detach()})


@register("sampler", "regression", head="policy")
@dataclass(frozen=True)
class RegressionSampler(Sampler):
    """The output from a zero input at t = T: one evaluation, no noise."""

    path: Path

    @property
    def max_nfe(self) -> int:
        return 1

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        self.check_nfe(nfe)
        return output_at(net, torch.zeros_like(z), self.path.T, cond)
