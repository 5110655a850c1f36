"""The Eulerian identity df/dt + (df/dx) v = 0 (move the start), as a regression of F(x_t; t, s) on its target T.

Two slots take a velocity, `target` (v in T) and `tangent` (the direction of dF/dt), and the stop-gradient has a place.
That choice tells the members of the family apart:

    direct training, MeanFlow   conditional   conditional
    improved MeanFlow           conditional   own diagonal
    iSD, ESD                    own diagonal  own diagonal
    distillation                teacher       teacher
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
from isd_core.objectives.base import FlowMapObjective, Points, Residual
from isd_core.paths import Trigonometric
from isd_core.support.errors import InputError
from isd_core.support.fields import Range
from isd_core.support.registry import register
from isd_core.velocities import OwnDiagonal, Velocity

STOP_GRADIENTS = ("full", "spatial", "none")


@register("objective", "eulerian")
@dataclass(frozen=True)
class Eulerian(FlowMapObjective):
    """|F - sg T|^2 with T = F + dA (v - F) + ddA x - A dF/dt (arXiv 2601.22679: L_SD-R with own diagonals).

    stop_gradient: `full` (the target carries no gradient), `spatial` (|D / nu|^2 with the stop-gradient on (dF/dx) v
    alone, L_SD) or `none` (|D / nu|^2, gradient everywhere but in the velocities). tangent: None is the target's
    velocity.
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
        return self.target.own

    def velocities(self, at: Points, F_tt: Tensor | None) -> tuple[Tensor, Tensor]:
        """The velocity in T, and the direction of dF/dt."""
        v = self.target.at_points(at, F_tt)
        return v, v if self.tangent is None else self.tangent.at_points(at, F_tt)

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        v, w = self.velocities(at, F_tt)
        if self.stop_gradient == "full":
            dF = self.along(net, at, dx=w, dt=1.0)
            target = self.flow_map.target(at.x_t, F_ts.detach(), v, dF, at.t, at.s)
            return Residual(self.discrepancy(F_ts, target))
        if self.stop_gradient == "spatial":
            dF = self.along(net, at, dx=w) + self.along(net, at, dt=1.0, graph=True)
        else:
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
        return torch.tensor(self.warmup(step), device=t.device)

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        v, w = self.velocities(at, F_tt)
        dF = self.along(net, at, dx=w, dt=1.0)
        F = F_ts.detach()
        k = self.flow_map.geometry(at.t, at.s, at.x_t)
        g = k.dA * (k.dA * (v - F) + extra * (k.ddA * at.x_t - k.A * dF))
        if self.c != float("inf"):
            g = g / (expand(g.flatten(1).norm(dim=1), g) + self.c)
        return Residual(self.discrepancy(F_ts, F + g))
