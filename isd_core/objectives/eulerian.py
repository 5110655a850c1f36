"""The Eulerian identity df/dt + (df/dx) v = 0 (move the start), as a regression of F(x_t; t, s) on its target T.

One step of improved self-distillation (arXiv 2601.22679), for data x and noise z; A, dA = dA/dt and ddA are those of
the flow map at (t, s), on the linear path t - s, 1 and 0:

    t, s ~ times, s <= t
    x_t = alpha_t x + sigma_t z;  v_t = alpha'_t x + sigma'_t z     the point and its conditional velocity
    F_tt, F_ts = F(x_t; t, t), F(x_t; t, s)                         one call of 2B rows
    v = w = sg F_tt                                                 the own diagonal, in T and as the tangent
    dF = sg [ (dF/dx) w + dF/dt ] at (x_t; t, s)                    the derivative along (w, 1, 0)
    T = sg [ F_ts + dA (v - F_ts) + ddA x_t - A dF ]                linear: v - (t - s) dF
    loss = w(t) ( |F_tt - v_t|^2 + |F_ts - T|^2 )                   averaged over the batch

What its relatives put into the two slots `target` (v) and `tangent` (w):

    direct training, MeanFlow   conditional   conditional
    improved MeanFlow           conditional   own diagonal
    iSD, ESD                    own diagonal  own diagonal
    distillation                teacher       teacher

They also differ in the part of the batch that takes the second term (`share`) and in where the gradient stops.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Generator, Tensor

from isd_core.curricula import Constant, Curriculum
from isd_core.derivatives import CentralDifference, Derivative
from isd_core.flow_map import expand
from isd_core.network import VelocityNet
from isd_core.objectives.base import FlowMapObjective, Residual
from isd_core.paths import Trigonometric
from isd_core.points import Points
from isd_core.support.device import on_device
from isd_core.support.errors import InputError
from isd_core.support.fields import Range
from isd_core.support.registry import register
from isd_core.velocities import OwnDiagonal, Velocity

STOP_GRADIENTS = ("full", "spatial", "none")


@register("objective", "eulerian")
@dataclass(frozen=True)
class Eulerian(FlowMapObjective):
    """|F - sg T|^2 with T = F + dA (v - F) + ddA x - A dF/dt (arXiv 2601.22679: L_SD-R with own diagonals).

    stop_gradient: with D = T - F, which vanishes for the true flow map,
        full     |F - sg T|^2   no gradient in the target
        spatial  |D / nu|^2     no gradient in (dF/dx) w alone (L_SD)
        none     |D / nu|^2     no gradient in the velocities alone
    tangent: None is the target's velocity.
    """

    derivative: Derivative = field(default_factory=CentralDifference)
    target: Velocity = field(default_factory=OwnDiagonal)
    tangent: Velocity | None = None
    stop_gradient: str = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop_gradient not in STOP_GRADIENTS:
            raise InputError(
                f"objective.stop_gradient={self.stop_gradient} is unknown; known: {', '.join(STOP_GRADIENTS)}."
            )

    @property
    def wants_diagonal(self) -> bool:
        return self.target.own or (self.tangent is not None and self.tangent.own)

    @property
    def self_taught(self) -> bool:
        return self.target.self_taught

    def sources(self) -> list[Velocity]:
        return [source for source in (self.target, self.tangent) if source is not None]

    def velocities(self, at: Points, F_tt: Tensor | None) -> tuple[Tensor, Tensor]:
        """The velocity in T, and the direction of dF/dt."""
        v = self.target.at_points(at, F_tt)
        return v, v if self.tangent is None else self.tangent.at_points(at, F_tt)

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        v, w = self.velocities(at, F_tt)  # [n, ...] each, without gradient
        match self.stop_gradient:
            case "full":
                dF = self.along(net, at, dx=w, dt=1.0)
                target = self.flow_map.target(at.x_t, F_ts.detach(), v, dF, at.t, at.s)
                return Residual(self.discrepancy(F_ts, target))
            case "spatial":
                dF = self.along(net, at, dx=w) + self.along(net, at, dt=1.0, graph=True)
            case _:
                dF = self.along(net, at, dx=w, dt=1.0, graph=True)
        D = self.flow_map.target(at.x_t, F_ts, v, dF, at.t, at.s) - F_ts
        return Residual(self.discrepancy(D / self.path.nu, torch.zeros_like(D)))

    def along(
        self, net: VelocityNet, at: Points, dx: Tensor | None = None, dt: float = 0.0, graph: bool = False
    ) -> Tensor:
        """The derivative of F(x_t; t, s) in the direction (dx, dt, 0)."""
        unit = self.path.unit(at.t)
        return self.derivative.along(net, at.x_t, at.t, at.s, at.cond, dx=dx, dt=dt, unit=unit, graph=graph)


@register("objective", "normalised_tangent")
@dataclass(frozen=True)
class NormalisedTangent(Eulerian):
    """sCM (arXiv 2410.11081): F <- sg(F + g / (|g| + c)), g = dA D, whose derivative part is warmed up.

    |g| is the L2 norm of a sample. On the trigonometric path at s = 0, dA = cos t. c = inf leaves g as it is.
    """

    c: Annotated[float, Range(above=0, infinite=True)] = 0.1
    warmup: Curriculum = field(default_factory=Constant)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.path, Trigonometric):
            raise InputError(f"objective=scm is defined on path=trigonometric, not on {type(self.path).__name__}.")
        if self.stop_gradient != "full":
            raise InputError(f"objective.stop_gradient={self.stop_gradient}: sCM's target carries no gradient; `full`.")

    def extra(self, t: Tensor, s: Tensor, rng: Generator, step: int) -> Tensor:
        """The share of the derivative part."""
        return on_device(self.warmup(step), t.device)

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        v, w = self.velocities(at, F_tt)
        dF = self.along(net, at, dx=w, dt=1.0)
        F = F_ts.detach()
        k = self.flow_map.geometry(at.t, at.s, at.x_t)
        g = k.dA * (k.dA * (v - F) + extra * (k.ddA * at.x_t - k.A * dF))
        if self.c != float("inf"):
            g = g / (expand(g.flatten(1).norm(dim=1), g) + self.c)
        return Residual(self.discrepancy(F_ts, F + g))


@register("objective", "clamped_target")
@dataclass(frozen=True)
class ClampedTarget(Eulerian):
    """F <- sg(F + a(t) clamp(T - F, -bound, bound)): a step towards T that no outlier makes long (FACM, arXiv
    2507.03738).

    a(t) = 1 - (1 - t / T)^relaxation falls to 0 at the data, where F is pulled least. bound = inf, relaxation = inf is
    the plain target.
    """

    bound: Annotated[float, Range(above=0, infinite=True)] = 1.0
    relaxation: Annotated[float, Range(above=0, infinite=True)] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop_gradient != "full":
            raise InputError(f"objective.stop_gradient={self.stop_gradient}: a clamped target carries none; `full`.")

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        v, w = self.velocities(at, F_tt)
        dF = self.along(net, at, dx=w, dt=1.0)
        F = F_ts.detach()
        D = self.flow_map.target(at.x_t, F, v, dF, at.t, at.s) - F
        a = 1 - (1 - self.path.share(at.t)).clamp_min(0) ** self.relaxation
        return Residual(self.discrepancy(F_ts, F + expand(a, D) * D.clamp(-self.bound, self.bound)))
