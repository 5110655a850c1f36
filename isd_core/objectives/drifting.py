"""Drifting (arXiv 2602.04770): one-step samples move along a field that draws them to data and apart from each other.

One step, for data y and K noises z of each row's condition, f(z) the jump from noise to data:

    x = f(z)                                                    K samples of every row, with gradient
    V(x) = sum_j p_j (y_j - x) - sum_j q_j (x_j - x)            to the data, from the other samples, of its condition
    p = softmax_j(-|x - y_j| / tau),  q = softmax_j(-|x - x_j| / tau)
    loss = |x - sg(x + V)|^2,  V over all tau

The field changes its sign when data and samples are exchanged, so it is 0 where their laws are equal. Distances are in
units of their own mean. There is no flow and no time in it: the network is called at t = T, s = the path's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Generator, Tensor

from isd_core.flow_map import FlowMap
from isd_core.network import Cond, VelocityNet, noise_like
from isd_core.objectives.base import Draw, LossOut, Objective
from isd_core.paths import Path
from isd_core.support.errors import InputError
from isd_core.support.fields import Positive, Range
from isd_core.support.registry import register
from isd_core.weighting import MSE, Discrepancy

FAR = 1e9  # of what belongs to another condition, in units of a temperature: exp(-FAR) = 0


@register("objective", "drifting")
@dataclass(frozen=True)
class Drifting(Objective):
    """|x - sg(x + V(x))|^2 of one-step samples x, V the attraction-repulsion field of the batch.

    samples: K, drawn for each row; temperatures: tau, in units of the mean distance; per_step: distances and field are
    those of each index on the first axis of the data, such as an action of a chunk, and not of the whole.

    Rows attract and repel each other where their conditions are equal. A condition that one row of a batch alone has,
    such as a robot's observation, has that row's data as its only attractor: the samples then gather at the mean of
    what such rows hold, as far as the network tells their conditions apart.
    """

    path: Path
    samples: Annotated[int, Range(least=2, most=1024)] = 4
    temperatures: Sequence[Positive] = (0.02, 0.05, 0.2)
    per_step: bool = False
    discrepancy: Discrepancy = field(default_factory=MSE)

    def __post_init__(self) -> None:
        if not self.temperatures:
            raise InputError("objective.temperatures=[]: expected at least one, such as [0.02,0.05,0.2].")

    def draw(self, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """K noises of each row, [B K, ...], the rows of one condition together."""
        cond = {key: value.repeat_interleave(self.samples, dim=0) for key, value in cond.items()}
        z = noise_like(x.repeat_interleave(self.samples, dim=0), cond, rng)
        t = torch.full((len(z),), self.path.T, device=z.device)
        return Draw(x, z, t, torch.full_like(t, self.path.end), cond)

    def loss(self, net: VelocityNet, draw: Draw) -> LossOut:
        """Terms: drift, the squared length of V, of each sample [B K]."""
        x_T = draw.z * self.path.coefficients(draw.t[:1]).sigma.view((1,) * draw.z.ndim)
        x = FlowMap(self.path).jump(x_T, net(x_T, draw.t, draw.s, draw.cond), draw.t, draw.s)
        with torch.no_grad():
            V = self.field(x, draw.x, same_condition(draw.cond, len(x), x.device))
        drift = self.discrepancy(x, (x + V).detach())  # [B K]
        return LossOut(drift.mean(), {"drift": drift.detach()})

    def field(self, x: Tensor, y: Tensor, same: Tensor) -> Tensor:
        """V at samples x [B K, ...] for data y [B, ...]; same [B K, B K]: whether two samples have one condition."""
        parts = x.shape[1] if self.per_step else 1
        X, Y = (value.reshape(len(value), parts, -1).transpose(0, 1) for value in (x, y))  # [P, n, D]
        to_data, to_samples = torch.cdist(X, Y), torch.cdist(X, X)  # [P, B K, B], [P, B K, B K]
        others = same & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
        unit = to_data.mean().clamp_min(torch.finfo(x.dtype).tiny)
        V = torch.zeros_like(X)
        for tau in self.temperatures:
            attraction = _mean_shift(X, Y, to_data / (tau * unit), same[:, :: self.samples])
            V = V + attraction - _mean_shift(X, X, to_samples / (tau * unit), others)
        return V.transpose(0, 1).reshape(x.shape)


def _mean_shift(x: Tensor, y: Tensor, distance: Tensor, allowed: Tensor) -> Tensor:
    """sum_j softmax_j(-distance) (y_j - x) over the allowed j; [P, n, D], [P, m, D], [P, n, m], [n, m]."""
    weights = torch.softmax(torch.where(allowed, -distance, -FAR), dim=-1)
    return weights @ y - x


def same_condition(cond: Cond, n: int, device: torch.device) -> Tensor:
    """[n, n] whether two of the rows have equal entries throughout; all of them where there is no condition."""
    same = torch.ones(n, n, dtype=torch.bool, device=device)
    for value in cond.values():
        rows = value.reshape(n, -1)
        same = same & (rows[:, None] == rows[None]).all(-1)
    return same
