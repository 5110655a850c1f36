"""The Lagrangian identity df/ds = v(f(x; t, s), s) (move the end).

One step of Lagrangian self-distillation (arXiv 2505.18825), x_t, v_t, F_tt and F_ts as in `eulerian`:

    f = sg f(x_t; t, s)                                where the map arrives; linear: x_t - (t - s) F_ts
    v = sg F(f; s, s)                                  the velocity there: the own diagonal, or a teacher's
    df/ds, from F_ts and dF/ds at (x_t; t, s)          with gradient; linear: F_ts - (t - s) dF/ds
    loss = w(t) ( |F_tt - v_t|^2 + |df/ds - v|^2 )
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from isd_core.derivatives import CentralDifference, Derivative
from isd_core.network import VelocityNet
from isd_core.objectives.base import FlowMapObjective, Residual
from isd_core.points import Points
from isd_core.support.errors import InputError
from isd_core.support.registry import register
from isd_core.velocities import Conditional, OwnDiagonal, Velocity


@register("objective", "lagrangian")
@dataclass(frozen=True)
class Lagrangian(FlowMapObjective):
    """|df/ds - sg v(f; s)|^2: v is the own diagonal (LSD, arXiv 2505.18825) or a teacher's (Lagrangian distillation).

    The gradient flows through df/ds, so the derivative keeps its graph; it needs no derivative in x.
    """

    derivative: Derivative = field(default_factory=CentralDifference)
    velocity: Velocity = field(default_factory=OwnDiagonal)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.velocity, Conditional):
            raise InputError(
                "objective.velocity=Conditional: the Lagrangian residual asks for the velocity where the map arrives, "
                "and the conditional one is known at the drawn points alone. Use OwnDiagonal or a teacher."
            )

    @property
    def self_taught(self) -> bool:
        return self.velocity.self_taught

    @property
    def wants_velocity(self) -> bool:
        return False

    def sources(self) -> list[Velocity]:
        return [self.velocity]

    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        x, t, s, cond = at.x_t, at.t, at.s, at.cond
        f = self.flow_map.jump(x, F_ts.detach(), t, s)
        v = self.velocity.at(net, f, s, cond)
        dF = self.derivative.along(net, x, t, s, cond, ds=1.0, unit=self.path.unit(s), graph=True)
        return Residual(self.discrepancy(self.flow_map.slope(x, F_ts, dF, t, s), v))
