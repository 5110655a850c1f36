"""The Lagrangian identity df/ds = v(f(x; t, s), s) (move the end)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Generator, Tensor

from isd_core.derivatives import CentralDifference, Derivative
from isd_core.network import VelocityNet
from isd_core.objectives.base import Draw, FlowMapObjective, Residual
from isd_core.velocities import OwnDiagonal, Velocity


@dataclass(frozen=True)
class Lagrangian(FlowMapObjective):
    """|df/ds - sg v(f; s)|^2: v is the own diagonal (LSD, arXiv 2505.18825) or a teacher's (Lagrangian distillation).

    The gradient flows through df/ds, so the derivative keeps its graph; it needs no derivative in x.
    """

    derivative: Derivative = field(default_factory=CentralDifference)
    velocity: Velocity = field(default_factory=OwnDiagonal)

    def residual(
        self, net: VelocityNet, draw: Draw, F_ts: Tensor, F_tt: Tensor | None, rng: Generator, step: int
    ) -> Residual:
        x, t, s, cond = draw.x_t, draw.t, draw.s, draw.cond
        f = self.flow_map.jump(x, F_ts.detach(), t, s)
        v = self.velocity.at(net, f, s, cond)
        dF = self.derivative.along(net, x, t, s, cond, ds=1.0, unit=self.path.unit(t), graph=True)
        return Residual(self.discrepancy(self.flow_map.slope(x, F_ts, dF, t, s), v))
