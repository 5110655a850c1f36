"""The semigroup identity f(u, s) o f(t, u) = f(t, s) (go through u), as a regression of F(x_t; t, s) on the
composition.

One step of progressive self-distillation (arXiv 2505.18825), x_t, v_t, F_tt and F_ts as in `eulerian`. On the linear
path F(x; t, s) is the mean velocity from s to t, and that of the composition is the mean of both parts:

    u ~ intermediate, s <= u <= t
    F_tu = F(x_t; t, u)                                 from t to u, by the own map
    x_u = f(x_t; t, u)                                  linear: x_t - (t - u) F_tu
    F_us = F(x_u; u, s)                                 from u to s
    F* = sg compose(F_tu, F_us)                         linear: ((t - u) F_tu + (u - s) F_us) / (t - s)
    loss = w(t) ( |F_tt - v_t|^2 + |F_ts - F*|^2 )

The members of the family are told apart by the law of u and by what leads from t to u (`bridge`): the own map, or a
velocity v at (x_t, t), along which one step of a solver is taken; v then stands in the place of F_tu.

    PSD, shortcut                      the own map
    CTM                                the own diagonal F(x_t; t, t)
    consistency training, iCT, ECT,    the conditional velocity v_t, whose step stays on the same data and noise:
    alpha-Flow                         x_u = alpha_u x + sigma_u z
    consistency distillation           a teacher's diagonal
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from isd_core.derivatives import CentralDifference, Derivative
from isd_core.intermediate import IntermediateLaw, IntermediateTime, Midpoint
from isd_core.network import VelocityNet
from isd_core.objectives.base import FlowMapObjective, Residual
from isd_core.points import Points
from isd_core.support.errors import InputError
from isd_core.support.fields import Share
from isd_core.support.registry import register
from isd_core.velocities import Conditional, Velocity

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
    teacher: the network whose maps are composed, an average of the run or a trained one; None is the own.
    """

    bridge: Velocity | None = None
    intermediate: IntermediateLaw = field(default_factory=Midpoint)
    space: str = "velocity"
    smallest: Share = 0.0
    teacher: Velocity | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.teacher, Conditional):
            raise InputError(
                "objective.teacher=conditional: the data are no network whose maps could be composed. Use "
                "teacher={type: averaged}, a trained teacher, or null."
            )
        if self.space not in SPACES:
            raise InputError(f"objective.space={self.space} is unknown; known: {', '.join(SPACES)}.")

    @property
    def wants_diagonal(self) -> bool:
        return self.bridge is not None and self.bridge.own

    @property
    def self_taught(self) -> bool:
        return self.bridge is None or self.bridge.self_taught

    def extra(self, t: Tensor, s: Tensor, rng: Generator, step: int) -> IntermediateTime:
        """The intermediate time u."""
        return self.intermediate.sample(t, s, self.path, rng, step)

    def sources(self) -> list[Velocity]:
        return [source for source in (self.bridge, self.teacher) if source is not None]

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        x, t, s = at.x_t, at.t, at.s
        u, weight, direct, limit = extra  # [n], [n] or None
        if limit:
            raise InputError(
                "objective.intermediate puts u on t in every row, where the semigroup identity says nothing: its limit "
                "needs a derivative. Use objective.type=semigroup_with_limit, or an alpha above 0."
            )
        composer = net if self.teacher is None else self.teacher.network(net)
        with torch.no_grad():
            F_tu = self.to_intermediate(composer, at, u, F_tt)  # [n, ...]
            target = F_tu if direct else self.composed(composer, at, u, F_tu)  # [n, ...]
        if self.space == "velocity":
            return Residual(self.discrepancy(F_ts, target), weight)
        f, f_target = (self.flow_map.jump(x, F, t, s) for F in (F_ts, target))
        return Residual(self.discrepancy(f, f_target), weight)

    def to_intermediate(self, net: VelocityNet, at: Points, u: Tensor, F_tt: Tensor | None) -> Tensor:
        """What leads from t to u: the own map's F(x_t; t, u), or the velocity of the bridge."""
        if self.bridge is not None:
            return self.bridge.at_points(at, F_tt)
        return net(at.x_t, at.t, torch.where(self.is_smallest(at), at.t, u), at.cond)

    def composed(self, net: VelocityNet, at: Points, u: Tensor, F_tu: Tensor) -> Tensor:
        """F*, with the second part from u to s by the own map."""
        x_u = self.flow_map.jump(at.x_t, F_tu, at.t, u)
        F_us = net(x_u, u, torch.where(self.is_smallest(at), u, at.s), at.cond)
        return self.flow_map.compose(at.x_t, F_tu, F_us, at.t, u, at.s)

    def is_smallest(self, at: Points) -> Tensor:
        """The rows [n] whose jump is so short that both parts go along the diagonal."""
        return at.t - at.s <= self.smallest * self.path.T * (1 + ROUNDING)


@register("objective", "semigroup_with_limit")
@dataclass(frozen=True)
class SemigroupWithLimit(Semigroup):
    """The identity with its limit u = t, where it is the Eulerian one with the bridge in both slots: alpha-Flow (arXiv
    2510.20771) ends as MeanFlow.

    F* = F + alpha (T - F) + O(alpha^2), so the weight 1 / alpha makes the gradients meet as alpha -> 0.
    derivative: how dF/dt is computed where u = t.
    """

    bridge: Velocity = field(default_factory=Conditional)
    derivative: Derivative = field(default_factory=CentralDifference)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.space != "velocity":
            raise InputError(f"objective.space={self.space}: its limit compares network values; `velocity`.")

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        if not extra.limit:
            return super().residual(net, at, F_ts, F_tt, extra)
        v, unit = self.bridge.at_points(at, F_tt), self.path.unit(at.t)
        dF = self.derivative.along(net, at.x_t, at.t, at.s, at.cond, dx=v, dt=1.0, unit=unit)
        return Residual(self.discrepancy(F_ts, self.flow_map.target(at.x_t, F_ts.detach(), v, dF, at.t, at.s)))
