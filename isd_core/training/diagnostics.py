"""What a training tells about itself: means over a window, estimates of optimality, and known signs of failure."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from isd_core.derivatives import CentralDifference
from isd_core.dropout import shared
from isd_core.network import Cond, VelocityNet
from isd_core.objectives.base import FlowMapObjective, LossOut, Objective
from isd_core.times import FixedEnd

NEAR_DIAGONAL = 0.02  # of T
ROWS = 64


class Window:
    """Means of the loss, its terms and the gradient norm since the last flush, kept on the device until then."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, out: LossOut, norm: Tensor) -> None:
        """Takes one step's values."""
        values = {"loss": out.loss.detach(), "grad_norm": norm}
        values |= {name: term.mean() for name, term in out.terms.items()}
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1

    def flush(self) -> dict[str, float]:
        """The means, starting anew."""
        means = {name: float(total) / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return means


@torch.no_grad()
def estimates(
    objective: Objective, net: VelocityNet, x: Tensor, cond: Cond, rng: Generator, step: int
) -> dict[str, float]:
    """Estimates on the first rows of a batch; nothing for objectives that are no flow-map objectives.

    l_ed: mean over elements of |D / nu|^2, the own diagonal being the velocity; derivative_noise: relative change of dF
    when the difference's width doubles; near_diagonal: share of samples with t - s below 0.02 T, those that have the
    diagonal term alone among them.
    """
    if not isinstance(objective, FlowMapObjective):
        return {}
    x, cond = x[:ROWS], {key: value[:ROWS] for key, value in cond.items()}
    draw = objective.draw(x, cond, rng, step)
    net, cond = shared(net, draw.cond, len(x), x.device)
    points = objective.points(net, draw._replace(cond=cond)).rows(slice(0, objective.rows(len(x))))
    at = (points.x_t, points.t, points.s, points.cond)
    v, F = net(points.x_t, points.t, points.t, points.cond), net(*at)
    unit = objective.path.unit(points.t)
    dF, wide = (CentralDifference(eps).along(net, *at, dx=v, dt=1.0, unit=unit) for eps in (0.005, 0.01))
    D = objective.flow_map.target(points.x_t, F, v, dF, points.t, points.s) - F
    near = points.t - points.s < NEAR_DIAGONAL * objective.path.T
    return {
        "l_ed": float((D / objective.path.nu).float().square().mean()),
        "derivative_noise": float((wide - dF).norm() / dF.norm().clamp_min(1e-12)),
        "near_diagonal": 1 - objective.share * (1 - float(near.float().mean())),
    }


class Watch:
    """Recognises known signs of failure in the log's records and explains each once, in one line."""

    DIVERGED, EXPLODED = 10.0, 100.0  # times the best loss, the usual gradient norm
    LARGE_OMEGA = 7.0

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._said: set[str] = set()
        self._best = math.inf
        self._norms: list[float] = []

    def at_start(self) -> list[str]:
        """What the objective's composition alone gives reason to say."""
        if isinstance(getattr(self.objective, "times", None), FixedEnd):
            return self._once(
                "fixed end",
                "s is fixed at 0: expect a large spread across seeds and slow or diverging self-distillation; "
                "times=beta_pair (s < t) is the remedy.",
            )
        return []

    def __call__(self, record: dict[str, Any]) -> list[str]:
        """Lines about a record with `step`, `loss` and `grad_norm`."""
        lines = []
        loss, norm, step = record["loss"], record["grad_norm"], record["step"]
        if loss > self.DIVERGED * self._best and self._best > 0:
            omega = getattr(getattr(self.objective, "guidance", None), "omega", 1.0)
            large = f"guidance.omega={omega:g}: above {self.LARGE_OMEGA:g} it is too large"
            cause = large if omega > self.LARGE_OMEGA else "too high a learning rate"
            lines += self._once(
                "diverged",
                f"step {step}: the loss is {loss:.3g} after {self._best:.3g}: it diverges. In the first 10,000 steps "
                f"the usual cause is {cause}.",
            )
        usual = sorted(self._norms)[len(self._norms) // 2] if self._norms else math.inf
        if norm > self.EXPLODED * usual:
            spatial = getattr(self.objective, "stop_gradient", "full") != "full"
            cause = (
                "the gradient through dF/dt; objective.stop_gradient=full removes it"
                if spatial
                else "too high a learning rate"
            )
            lines += self._once(
                "exploded", f"step {step}: the gradient norm is {norm:.3g}, usually {usual:.3g}. Likely: {cause}."
            )
        self._best = min(self._best, loss)
        self._norms.append(norm)
        return lines

    def _once(self, sign: str, line: str) -> list[str]:
        if sign in self._said:
            return []
        self._said.add(sign)
        return [line]
