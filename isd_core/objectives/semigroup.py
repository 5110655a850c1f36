"""The semigroup identity f(u, s) o f(t, u) = f(t, s) (go through u), as a regression of F(x_t; t, s) on the
composition.

Every member is told apart by how x_u is reached and by the law of u:

    PSD, shortcut                      own map F(x_t; t, u)
    CTM                                one solver step along the own diagonal F(x_t; t, t)
    consistency training, iCT, ECT,    the conditional velocity v_t, whose jump stays on the same data and noise:
    alpha-Flow                         x_u = alpha_u x + sigma_u z
    consistency distillation           one solver step along a teacher's diagonal
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from isd_core.intermediate import IntermediateLaw, IntermediateTime, Midpoint
from isd_core.network import VelocityNet
from isd_core.objectives.base import FlowMapObjective, Points, Residual
from isd_core.support.errors import InputError
from isd_core.support.fields import Share
from isd_core.support.registry import register
from isd_core.velocities import Velocity

ROUNDING = 1e-5
SPACES = ("velocity", "data")


@register("objective", "semigroup")
@dataclass(frozen=True)
class Semigroup(FlowMapObjective):
    """|F(x_t; t, s) - sg F*|^2, F* being the network value of f(u, s) o f(t, u).

    bridge: the velocity whose single step reaches x_u; None is the own map.
    space: compare network values (`velocity`) or the maps' values f (`data`), which are A / nu times closer.
    smallest: jumps of at most this part of T go by the own diagonal instead of the own map (the shortcut's smallest
    step).
    """

    bridge: Velocity | None = None
    intermediate: IntermediateLaw = field(default_factory=Midpoint)
    space: str = "velocity"
    smallest: Share = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.space not in SPACES:
            raise InputError(f"objective.space={self.space} is unknown; known: {', '.join(SPACES)}.")

    @property
    def wants_diagonal(self) -> bool:
        return self.bridge is not None and self.bridge.own

    @property
    def self_taught(self) -> bool:
        return self.bridge is None or self.bridge.own

    def extra(self, t: Tensor, s: Tensor, rng: Generator, step: int) -> IntermediateTime:
        """The intermediate time u."""
        return self.intermediate.sample(t, s, self.path, rng, step)

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        x, t, s, cond = at.x_t, at.t, at.s, at.cond
        u, weight, direct = extra
        smallest = t - s <= self.smallest * self.path.T * (1 + ROUNDING)
        with torch.no_grad():
            if self.bridge is None:
                F_tu = net(x, t, torch.where(smallest, t, u), cond)
            else:
                F_tu = self.bridge.at_points(at, F_tt)
            target = F_tu
            if not direct:
                x_u = self.flow_map.jump(x, F_tu, t, u)
                F_us = net(x_u, u, torch.where(smallest, u, s), cond)
                target = self.flow_map.compose(x, F_tu, F_us, t, u, s)
        if self.space == "velocity":
            return Residual(self.discrepancy(F_ts, target), weight)
        f, f_target = (self.flow_map.jump(x, F, t, s) for F in (F_ts, target))
        return Residual(self.discrepancy(f, f_target), weight)
