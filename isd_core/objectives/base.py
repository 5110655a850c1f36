"""What all objectives share, and the skeleton of those of the flow map: a diagonal term and one residual.

A step has two halves. `draw` takes all that is random or follows the step's number: conditioning, noise, times. `loss`
is a function of the network and that draw alone, so it can be compiled whole: one graded call of the network, residual,
diagonal, weight. The three residuals (`eulerian`, `lagrangian`, `semigroup`) differ in the identity of the flow map
that they enforce.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from isd_core.dropout import shared
from isd_core.flow_map import FlowMap
from isd_core.guidance import Guidance, NoGuidance
from isd_core.network import Cond, VelocityNet, noise_like, stack
from isd_core.paths import Path
from isd_core.points import Points
from isd_core.support.errors import InputError
from isd_core.support.fields import NonNegative, OpenShare
from isd_core.support.registry import role
from isd_core.times import BetaPair, TimeLaw
from isd_core.weighting import MSE, Discrepancy, Uniform, Weighting

if TYPE_CHECKING:
    from isd_core.velocities import Velocity


class LossOut(NamedTuple):
    """loss: the scalar to minimise; terms: detached per-sample values to log."""

    loss: Tensor
    terms: dict[str, Tensor]


class Draw(NamedTuple):
    """What a step draws. x, z: data and noise [B, ...]; t, s: [B]; cond: the conditioning that the networks see.

    extra: what the residual draws besides, for its own rows (`FlowMapObjective.extra`); t_diagonal: [B] the times of
    the diagonal term where they are not t.
    """

    x: Tensor
    z: Tensor
    t: Tensor
    s: Tensor
    cond: Cond
    extra: Any = None
    t_diagonal: Tensor | None = None


@role("objective", "objectives")
class Objective(ABC):
    """A training objective of F on data x [B, ...] in normalised units."""

    @abstractmethod
    def draw(self, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """All that is random in a step, or follows the number of the step."""

    def check_rows(self, n: int) -> None:
        """Raises `InputError` where `n` rows, those of a process in one part of a step, are too few."""
        return None

    @abstractmethod
    def loss(self, net: VelocityNet, draw: Draw) -> LossOut:
        """The loss at a draw: nothing in it is random but the network's own dropout."""

    def sources(self) -> list[Velocity]:
        """Where it takes velocities from."""
        return []

    def frozen(self) -> list[nn.Module]:
        """The networks that the loss asks and that nothing trains, such as a teacher: they go where the loss goes."""
        return [net for source in self.sources() for net in source.frozen()]

    def __call__(self, net: VelocityNet, x: Tensor, cond: Cond, rng: Generator, step: int) -> LossOut:
        """x: [B, ...] data in normalised units."""
        return self.loss(net, self.draw(x, cond, rng, step))


class Residual(NamedTuple):
    """A per-sample residual [n] and the weight [n] that its identity asks for (None: 1).

    A weight is that of a difference quotient, 1 / h of an error of order h: the loss takes weight * value, whose
    gradient has the order of h^0, and weightings follow weight^2 * value, the size of the quotient.
    """

    value: Tensor
    weight: Tensor | None = None

    @property
    def weighted(self) -> Tensor:
        """weight * value, [n]."""
        return self.value if self.weight is None else self.weight * self.value

    @property
    def size(self) -> Tensor:
        """weight^2 * value without gradient, [n]."""
        return (self.value if self.weight is None else self.weight**2 * self.value).detach()


DIAGONAL_ROWS = ("rest", "all")


@dataclass(frozen=True)
class FlowMapObjective(Objective):
    """diagonal * L_FM + residual, weighted per sample.

    diagonal: weight of the flow-matching term |F(x_t; t, t) - v|^2; 0 leaves it out.
    share: part of a batch that takes the residual. With share = 1 every sample takes both terms; with less, the rest of
    the batch takes the flow-matching term alone (MeanFlow's share of s = t, the shortcut's bootstrap share).
    diagonal_rows: with a share, whether the flow-matching term is for the `rest` or for `all` rows.
    diagonal_times: the law of t for that rest, or with share = 1 for the flow-matching term of all rows, whose points
    then have times of their own; None is `times`.
    All passes of a step see the same dropout masks row by row (`isd_core.dropout`).
    """

    path: Path
    times: TimeLaw = field(default_factory=BetaPair)
    guidance: Guidance = field(default_factory=NoGuidance)
    discrepancy: Discrepancy = field(default_factory=MSE)
    diagonal_discrepancy: Discrepancy = field(default_factory=MSE)
    weighting: Weighting = field(default_factory=Uniform)
    diagonal: NonNegative = 1.0
    share: OpenShare = 1.0
    diagonal_rows: str = "rest"
    diagonal_times: TimeLaw | None = None

    def __post_init__(self) -> None:
        for law in (self.times, self.diagonal_times):
            if law is not None:
                law.check(self.path)
        if self.diagonal_rows not in DIAGONAL_ROWS:
            raise InputError(
                f"objective.diagonal_rows={self.diagonal_rows} is unknown; known: {', '.join(DIAGONAL_ROWS)}."
            )
        if self.diagonal_rows == "all" and self.share < 1 and self.diagonal_times is not None:
            raise InputError(
                "objective.diagonal_rows=all with objective.diagonal_times: rows with both terms have one time each; "
                "leave diagonal_times null, or take share=1."
            )
        if not 0 < self.share <= 1:
            raise InputError(f"objective.share must lie in (0, 1], not {self.share}.")
        if self.diagonal < 0 or (self.share < 1 and self.diagonal == 0):
            raise InputError(
                f"objective.diagonal={self.diagonal} with objective.share={self.share}: the samples outside the share "
                "have the diagonal term alone, so its weight must be positive."
            )
        if not self.diagonal:
            self._check_without_diagonal()

    def _check_without_diagonal(self) -> None:
        if self.self_taught:
            raise InputError(
                "objective.diagonal=0: the residual compares the network with itself alone, so without flow matching "
                "on the diagonal nothing tells it of the data. Give the term a positive weight."
            )
        if self.times.fixed_end and (self.wants_diagonal or self.guidance.on_diagonal):
            raise InputError(
                f"{type(self.guidance).__name__ if self.guidance.on_diagonal else 'The own diagonal as a velocity'} "
                f"asks for F(x; t, t), which is never trained with times={type(self.times).__name__} (s is the path's "
                "end in every pair) and objective.diagonal=0. Use guidance=none, a law with s < t such as "
                "times=beta_pair, or a positive objective.diagonal."
            )

    @property
    def flow_map(self) -> FlowMap:
        return FlowMap(self.path)

    @property
    def wants_diagonal(self) -> bool:
        """Whether the residual uses F(x_t; t, t) on its own rows."""
        return False

    @property
    def wants_velocity(self) -> bool:
        """Whether the residual uses the (guided) conditional velocity of its points."""
        return True

    @property
    def self_taught(self) -> bool:
        """Whether the residual's velocities are all the network's own: then it says nothing of the data."""
        return False

    def extra(self, t: Tensor, s: Tensor, rng: Generator, step: int) -> Any:
        """What the residual draws besides the times t, s [n] of its rows: tensors and tuples of them."""
        return None

    @abstractmethod
    def residual(self, net: VelocityNet, at: Points, F_ts: Tensor, F_tt: Tensor | None, extra: Any) -> Residual:
        """The residual of F_ts = F(x_t; t, s), which carries the gradient. F_tt = F(x_t; t, t) has none; it is there
        where `wants_diagonal`, and where the diagonal term gives it for nothing."""

    def rows(self, n: int) -> int:
        """How many of `n` samples take the residual: the first ones. With a share, neither part is empty (n > 1)."""
        return n if self.share == 1 else max(1, min(round(self.share * n), n - 1))

    def check_rows(self, n: int) -> None:
        if self.share == 1 or self._has_share(n):
            return
        enough = next(more for more in itertools.count(2) if self._has_share(more))
        raise InputError(
            f"objective.share={self.share:g} of {n} rows would be {self.rows(n)}: a process takes trainer.batch_size / "
            f"(processes * trainer.accumulate) rows at a time; expected at least {enough}. Choose a larger batch, a "
            "smaller trainer.accumulate, or objective.share=1."
        )

    def _has_share(self, n: int) -> bool:
        """Whether rounding leaves at least half, and at most one and a half, of what the smaller part should be."""
        return n > 1 and abs(self.rows(n) / n - self.share) <= min(self.share, 1 - self.share) / 2

    def draw(self, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """Prepared conditioning, noise, times, and what the residual draws besides."""
        n, split = len(x), self.rows(len(x))
        cond = self.guidance.prepare(cond, rng, n)
        z = noise_like(x, cond, rng)
        t, s = self.times.sample(n, self.path, rng, step)
        t_diagonal = None
        if self.diagonal_times is not None and split < n:
            t = torch.cat([t[:split], self.diagonal_times.sample(n - split, self.path, rng, step)[0]])
        elif self.diagonal_times is not None:
            t_diagonal = self.diagonal_times.sample(n, self.path, rng, step)[0]
        return Draw(x, z, t, s, cond, self.extra(t[:split], s[:split], rng, step), t_diagonal)

    def loss(self, net: VelocityNet, draw: Draw) -> LossOut:
        """Terms: residual, and flow (L_FM) where there is a diagonal term."""
        net, cond = shared(net, draw.cond, len(draw.x), draw.x.device)
        draw = draw._replace(cond=cond)
        if draw.t_diagonal is not None and self.diagonal:
            apart = draw._replace(t=draw.t_diagonal, s=draw.t_diagonal)
            points = self.points(net, draw, guided=self.wants_velocity)
            return self._terms_at_their_own_points(net, points, self.points(net, apart), draw.extra)
        points = self.points(net, draw)  # x_t, v: [B, ...]; t, s: [B]
        if self.share == 1:
            return self._both_terms_on_all_rows(net, points, draw.extra)
        return self._one_term_on_each_row(net, points, draw.extra)

    def _terms_at_their_own_points(self, net: VelocityNet, at: Points, apart: Points, extra: Any) -> LossOut:
        """share = 1 and times of their own: w(t) residual + w(t') diagonal * L_FM, [B] each."""
        F_apart, F_ts = self._diagonal_and_jump(net, apart, at)  # [B, ...] each, from one call of 2B rows
        F_tt = self._diagonal(net, at) if self.wants_diagonal else None
        residual = self.residual(net, at, F_ts, F_tt, extra)
        flow = self.diagonal_discrepancy(F_apart, apart.v)  # [B]
        terms = {"residual": residual.value, "flow": flow}
        size = torch.cat([residual.size, self.diagonal * flow.detach()])
        out = self._weighted(
            torch.cat([residual.weighted, self.diagonal * flow]), size, torch.cat([at.t, apart.t]), terms
        )
        # a sum of two means of B, not a mean of 2B; torch 2.11 does not compile `_replace` of what is returned
        return LossOut(2 * out.loss, out.terms)

    def _both_terms_on_all_rows(self, net: VelocityNet, at: Points, extra: Any) -> LossOut:
        """share = 1: w(t) (residual + diagonal * L_FM), [B] each."""
        if self.diagonal == 0:
            F_ts = net(at.x_t, at.t, at.s, at.cond)  # [B, ...]
            F_tt = self._diagonal(net, at) if self.wants_diagonal else None
            residual = self.residual(net, at, F_ts, F_tt, extra)
            return self._weighted(residual.weighted, residual.size, at.t, {"residual": residual.value})
        F_tt, F_ts = self._diagonal_and_jump(net, at, at)  # [B, ...] each, from one call of 2B rows
        residual = self.residual(net, at, F_ts, F_tt.detach(), extra)
        flow = self.diagonal_discrepancy(F_tt, at.v)  # [B]
        terms = {"residual": residual.value, "flow": flow}
        size = residual.size + self.diagonal * flow.detach()
        return self._weighted(residual.weighted + self.diagonal * flow, size, at.t, terms)

    def _one_term_on_each_row(self, net: VelocityNet, points: Points, extra: Any) -> LossOut:
        """share < 1: w(t) residual on the first R = share B rows, w(t) diagonal * L_FM on the other B - R or on all."""
        split = self.rows(len(points.t))
        at, rest = points.rows(slice(0, split)), points.rows(slice(split, None))
        if self.diagonal_rows == "all":
            F_all, F_ts = self._diagonal_and_jump(net, points, at)  # [B, ...] and [R, ...], from one call of B + R rows
            residual = self.residual(net, at, F_ts, F_all[:split].detach(), extra)
            flow = self.diagonal_discrepancy(F_all, points.v)  # [B]
            terms = {"residual": residual.value, "flow": flow}
            none = torch.zeros_like(flow[split:])
            size = torch.cat([residual.size, none]) + self.diagonal * flow.detach()
            return self._weighted(torch.cat([residual.weighted, none]) + self.diagonal * flow, size, points.t, terms)
        F_rest, F_ts = self._diagonal_and_jump(net, rest, at)  # [B - R, ...] and [R, ...], from one call of B rows
        F_tt = self._diagonal(net, at) if self.wants_diagonal else None  # [R, ...]
        residual = self.residual(net, at, F_ts, F_tt, extra)
        flow = self.diagonal_discrepancy(F_rest, rest.v)  # [B - R]
        terms = {"residual": residual.value, "flow": flow}
        size = torch.cat([residual.size, self.diagonal * flow.detach()])
        return self._weighted(torch.cat([residual.weighted, self.diagonal * flow]), size, points.t, terms)

    def _weighted(self, value: Tensor, size: Tensor, t: Tensor, terms: dict[str, Tensor]) -> LossOut:
        """The mean of the weighted values [B]; size: what the weights follow."""
        detached = {name: term.detach() for name, term in terms.items()}
        return LossOut(self.weighting(value, t, self.path, size).mean(), detached)

    def _diagonal_and_jump(self, net: VelocityNet, diagonal: Points, jump: Points) -> tuple[Tensor, Tensor]:
        """F(x_t; t, t) at the first points and F(x_t; t, s) at the second, from one call."""
        calls = [(diagonal.x_t, diagonal.t, diagonal.t, diagonal.cond), (jump.x_t, jump.t, jump.s, jump.cond)]
        F_tt, F_ts = net(*stack(calls)).split([len(diagonal.t), len(jump.t)])
        return F_tt, F_ts

    @torch.no_grad()
    def _diagonal(self, net: VelocityNet, at: Points) -> Tensor:
        """F(x_t; t, t), without gradient."""
        return net(at.x_t, at.t, at.t, at.cond)

    def points(self, net: VelocityNet, draw: Draw, guided: bool = True) -> Points:
        """The points between data and noise, and the velocity there, which costs no pass unless it is guided."""
        x_t, v_t = self.flow_map.interpolate(draw.x, draw.z, draw.t)
        cond = self.guidance.told(draw.cond, draw.t)
        v = self.guidance.target(net, x_t, draw.t, v_t, cond) if guided else v_t
        return Points(x_t, v, draw.t, draw.s, cond)
