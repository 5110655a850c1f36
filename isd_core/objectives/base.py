"""The skeleton that all flow-map objectives share: a flow-matching term on the diagonal and one residual.

A step reads: condition, draw (x, z, t, s), one graded call of the network, residual, diagonal, weight. The three
residuals (`eulerian`, `lagrangian`, `semigroup`) differ in the identity of the flow map that they enforce.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from isd_core.errors import InputError
from isd_core.flow_map import FlowMap
from isd_core.guidance import Guidance, NoGuidance
from isd_core.network import Cond, VelocityNet, stack
from isd_core.paths import Path
from isd_core.times import BetaPair, TimeLaw
from isd_core.weighting import MSE, Discrepancy, Uniform, Weighting


class LossOut(NamedTuple):
    """loss: the scalar to minimise; terms: detached per-sample values to log."""

    loss: Tensor
    terms: dict[str, Tensor]


class Objective(Protocol):
    """A training objective of F on data x [B, ...] in normalised units."""

    def __call__(self, net: VelocityNet, x: Tensor, cond: Cond, rng: Generator, step: int) -> LossOut: ...


class Draw(NamedTuple):
    """Points on the path. x_t, v: [n, ...] and t, s: [n]; v is the (guided) conditional velocity."""

    x_t: Tensor
    v: Tensor
    t: Tensor
    s: Tensor
    cond: Cond

    def rows(self, rows: slice) -> Draw:
        """Some of the rows."""
        cond = {key: value[rows] for key, value in self.cond.items()}
        return Draw(self.x_t[rows], self.v[rows], self.t[rows], self.s[rows], cond)


class Residual(NamedTuple):
    """A per-sample residual [n] and the weight [n] that its identity asks for (None: 1)."""

    value: Tensor
    weight: Tensor | None = None


@dataclass(frozen=True)
class FlowMapObjective(ABC):
    """diagonal * L_FM + residual, weighted per sample.

    diagonal: weight of the flow-matching term |F(x_t; t, t) - v|^2; 0 leaves it out.
    share: part of a batch that takes the residual. With share = 1 every sample takes both terms; with less, the rest of
    the batch takes the flow-matching term alone (MeanFlow's share of s = t, the shortcut's bootstrap share).
    """

    path: Path
    times: TimeLaw = field(default_factory=BetaPair)
    guidance: Guidance = field(default_factory=NoGuidance)
    discrepancy: Discrepancy = field(default_factory=MSE)
    diagonal_discrepancy: Discrepancy = field(default_factory=MSE)
    weighting: Weighting = field(default_factory=Uniform)
    diagonal: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        self.times.check(self.path)
        if not 0 < self.share <= 1:
            raise InputError(f"objective.share must lie in (0, 1], not {self.share}.")
        if self.diagonal < 0 or (self.share < 1 and self.diagonal == 0):
            raise InputError(
                f"objective.diagonal={self.diagonal} with objective.share={self.share}: the samples outside the share "
                "have the diagonal term alone, so its weight must be positive."
            )

    @property
    def flow_map(self) -> FlowMap:
        return FlowMap(self.path)

    @property
    def wants_diagonal(self) -> bool:
        """Whether the residual uses F(x_t; t, t) on its own rows."""
        return False

    @abstractmethod
    def residual(
        self, net: VelocityNet, draw: Draw, F_ts: Tensor, F_tt: Tensor | None, rng: Generator, step: int
    ) -> Residual:
        """The residual of F_ts = F(x_t; t, s), which carries the gradient; F_tt has none and is given if wanted."""

    def __call__(self, net: VelocityNet, x: Tensor, cond: Cond, rng: Generator, step: int) -> LossOut:
        """x: [B, ...] data in normalised units. Terms: flow (L_FM) and residual."""
        draw = self.draw(net, x, cond, rng, step)
        split = round(self.share * len(x))
        both = draw.rows(slice(0, split))
        rest = draw.rows(slice(split, None)) if self.share < 1 else both

        F_diagonal, F_ts = self.graded(net, rest, both)
        F_tt = self.own_diagonal(net, both, F_diagonal)
        residual = self.residual(net, both, F_ts, F_tt, rng, step)

        values = [residual.value if residual.weight is None else residual.weight * residual.value]
        terms, t = {"residual": residual.value.detach()}, both.t
        if F_diagonal is not None:
            flow = self.diagonal_discrepancy(F_diagonal, rest.v)
            terms["flow"] = flow.detach()
            values = [values[0], self.diagonal * flow] if self.share < 1 else [values[0] + self.diagonal * flow]
            t = draw.t
        return LossOut(self.weighting(torch.cat(values), t, self.path).mean(), terms)

    def draw(self, net: VelocityNet, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """Noise, times, the points between, and the guided velocity."""
        cond = self.guidance.prepare(cond, rng, len(x))
        z = torch.randn(x.shape, generator=rng, device=rng.device, dtype=x.dtype)
        t, s = self.times.sample(len(x), self.path, rng, step)
        x_t, v_t = self.flow_map.interpolate(x, z, t)
        return Draw(x_t, self.guidance.target(net, x_t, t, v_t, cond), t, s, cond)

    def graded(self, net: VelocityNet, diagonal: Draw, jump: Draw) -> tuple[Tensor | None, Tensor]:
        """F(x_t; t, t) and F(x_t; t, s) from one call; the former is None without a diagonal term."""
        if not self.diagonal:
            return None, net(jump.x_t, jump.t, jump.s, jump.cond)
        calls = [(diagonal.x_t, diagonal.t, diagonal.t, diagonal.cond), (jump.x_t, jump.t, jump.s, jump.cond)]
        F_tt, F_ts = net(*stack(calls)).split([len(diagonal.t), len(jump.t)])
        return F_tt, F_ts

    def own_diagonal(self, net: VelocityNet, draw: Draw, F_diagonal: Tensor | None) -> Tensor | None:
        """F(x_t; t, t) without gradient on the residual's rows, where the residual wants it: free if share = 1."""
        if not self.wants_diagonal:
            return None
        if F_diagonal is not None and self.share == 1:
            return F_diagonal.detach()
        with torch.no_grad():
            return net(draw.x_t, draw.t, draw.t, draw.cond)
