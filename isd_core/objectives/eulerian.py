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

import torch
from torch import Generator, Tensor

from isd_core.curricula import Constant, Curriculum
from isd_core.derivatives import CentralDifference, Derivative
from isd_core.errors import InputError
from isd_core.flow_map import expand
from isd_core.network import VelocityNet
from isd_core.objectives.base import Draw, FlowMapObjective, Residual
from isd_core.paths import Trigonometric
from isd_core.velocities import OwnDiagonal, Velocity

STOP_GRADIENTS = ("full", "spatial", "none")


@dataclass(frozen=True)
class Eulerian(FlowMapObjective):
    """|F - sg T|^2 with T = F + dA (v - F) + ddA x - A dF/dt (arXiv 2601.22679: L_SD-R with own diagonals).

    stop_gradient: `full` (the target carries no gradient), `spatial` (|D / nu|^2 with the stop-gradient on (dF/dx) v
    alone, L_SD) or `none` (|D / nu|^2, gradient everywhere but in the velocities).
    """

    derivative: Derivative = field(default_factory=CentralDifference)
    target: Velocity = field(default_factory=OwnDiagonal)
    tangent: Velocity = field(default_factory=OwnDiagonal)
    stop_gradient: str = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop_gradient not in STOP_GRADIENTS:
            raise InputError(
                f"objective.stop_gradient={self.stop_gradient} is unknown; known: {', '.join(STOP_GRADIENTS)}."
            )

    @property
    def wants_diagonal(self) -> bool:
        return self.target.own or self.tangent.own

    def residual(
        self, net: VelocityNet, draw: Draw, F_ts: Tensor, F_tt: Tensor | None, rng: Generator, step: int
    ) -> Residual:
        v, w = self.target.at_draw(draw, F_tt), self.tangent.at_draw(draw, F_tt)
        if self.stop_gradient == "full":
            dF = self.along(net, draw, dx=w, dt=1.0)
            target = self.flow_map.target(draw.x_t, F_ts.detach(), v, dF, draw.t, draw.s)
            return Residual(self.discrepancy(F_ts, target))
        if self.stop_gradient == "spatial":
            dF = self.along(net, draw, dx=w) + self.along(net, draw, dt=1.0, graph=True)
        else:
            dF = self.along(net, draw, dx=w, dt=1.0, graph=True)
        D = self.flow_map.target(draw.x_t, F_ts, v, dF, draw.t, draw.s) - F_ts
        return Residual(self.discrepancy(D / self.path.nu, torch.zeros_like(D)))

    def along(
        self, net: VelocityNet, draw: Draw, dx: Tensor | None = None, dt: float = 0.0, graph: bool = False
    ) -> Tensor:
        """The derivative of F(x_t; t, s) in the direction (dx, dt, 0)."""
        unit = self.path.unit(draw.t)
        return self.derivative.along(net, draw.x_t, draw.t, draw.s, draw.cond, dx=dx, dt=dt, unit=unit, graph=graph)


@dataclass(frozen=True)
class NormalisedTangent(Eulerian):
    """sCM (arXiv 2410.11081): F <- sg(F + g / (|g| + c)), g = dA D, whose derivative part is warmed up.

    |g| is the L2 norm of a sample. On the trigonometric path at s = 0, dA = cos t. c = inf leaves g as it is.
    """

    c: float = 0.1
    warmup: Curriculum = field(default_factory=Constant)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.path, Trigonometric):
            raise InputError(f"objective=scm is defined on path=trigonometric, not on {type(self.path).__name__}.")

    def residual(
        self, net: VelocityNet, draw: Draw, F_ts: Tensor, F_tt: Tensor | None, rng: Generator, step: int
    ) -> Residual:
        v, w = self.target.at_draw(draw, F_tt), self.tangent.at_draw(draw, F_tt)
        dF = self.along(net, draw, dx=w, dt=1.0)
        F = F_ts.detach()
        k = self.flow_map.geometry(draw.t, draw.s, draw.x_t)
        g = k.dA * (k.dA * (v - F) + self.warmup(step) * (k.ddA * draw.x_t - k.A * dF))
        if self.c != float("inf"):
            g = g / (expand(g.flatten(1).norm(dim=1), g) + self.c)
        return Residual(self.discrepancy(F_ts, F + g))
