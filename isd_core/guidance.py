"""Guidance in training: what the diagonal is regressed on. That at sampling is `isd_core.sampling.PostCFG`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

import torch
from torch import Generator, Tensor

from isd_core.flow_map import expand
from isd_core.network import Cond, VelocityNet, stack
from isd_core.paths import Path
from isd_core.support.errors import InputError
from isd_core.support.fields import NonNegative, Positive, Range, Share
from isd_core.support.registry import register, role


@role("guidance", "guidance")
class Guidance(ABC):
    """Prepares the conditioning of a batch and gives the flow-matching target.

    on_diagonal: it asks for F(x; t, t); inputs: the entries that it adds to the conditioning, for the network to see.
    """

    on_diagonal: ClassVar[bool]
    inputs: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def learned_null(self) -> Mapping[str, float]:
        """The entries of the conditioning that some rows are trained without, and the values that mean none; empty
        where every row keeps its condition, so that the network never learns F_null.
        """

    @property
    @abstractmethod
    def in_weights(self) -> bool:
        """Whether the trained network gives the guided velocity by itself."""

    @abstractmethod
    def prepare(self, cond: Cond, rng: Generator, n: int) -> Cond:
        """The conditioning of `n` rows that the networks see in this step; never changes `cond` in place."""
        ...

    def told(self, cond: Cond, t: Tensor) -> Cond:
        """The conditioning as the network sees it in jumps from times t [n], in training and at sampling."""
        return cond

    @abstractmethod
    def target(self, net: VelocityNet, x_t: Tensor, t: Tensor, v_t: Tensor, cond: Cond) -> Tensor:
        """The target of F(x_t; t, t), [B, ...], without gradient."""
        ...


@register("guidance", "none")
@dataclass(frozen=True)
class NoGuidance(Guidance):
    """The conditioning as it is; the target is the conditional velocity."""

    on_diagonal: ClassVar[bool] = False
    inputs: ClassVar[tuple[str, ...]] = ()
    learned_null: ClassVar[Mapping[str, float]] = MappingProxyType({})
    in_weights: ClassVar[bool] = False

    def prepare(self, cond: Cond, rng: Generator, n: int) -> Cond:
        return cond

    def target(self, net: VelocityNet, x_t: Tensor, t: Tensor, v_t: Tensor, cond: Cond) -> Tensor:
        return v_t


def drop(value: Tensor, null: float, probability: float, rng: Generator) -> Tensor:
    """`value` [B, ...] with each row replaced by `null` with the given probability (a Bernoulli mask)."""
    mask = torch.rand(len(value), generator=rng, device=rng.device) < probability
    return torch.where(expand(mask.to(value.device), value), torch.full_like(value, null), value)


def without(cond: Cond, null: Mapping[str, float]) -> Cond:
    """The conditioning with the entries that `null` names at the values that mean none."""
    return cond | {key: torch.full_like(cond[key], value) for key, value in null.items()}


@register("guidance", "post")
@dataclass(frozen=True)
class ConditionDropout(Guidance):
    """Rows without condition, so that the network also knows F_null: what guidance at sampling (`PostCFG`) needs.

    null: the entries of the conditioning that guidance acts on, and the values that mean none; dropout: the share of
    the rows that get them.
    """

    on_diagonal: ClassVar[bool] = False
    inputs: ClassVar[tuple[str, ...]] = ()

    null: dict[str, float]
    dropout: Share = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.dropout <= 1:
            raise InputError(f"guidance.dropout is a probability, not {self.dropout}.")

    @property
    def learned_null(self) -> Mapping[str, float]:
        return self.null if self.dropout > 0 else {}

    @property
    def in_weights(self) -> bool:
        return False

    def prepare(self, cond: Cond, rng: Generator, n: int) -> Cond:
        return cond | {key: drop(cond[key], null, self.dropout, rng) for key, null in self.null.items()}

    def target(self, net: VelocityNet, x_t: Tensor, t: Tensor, v_t: Tensor, cond: Cond) -> Tensor:
        return v_t

    def unconditional(self, net: VelocityNet, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """F_null = F(x_t; t, t, null) of the current weights, without gradient."""
        with torch.no_grad():
            return net(x_t, t, t, without(cond, self.null))


@register("guidance", "pre")
@dataclass(frozen=True)
class PreCFG(ConditionDropout):
    """Classifier-free guidance moved into training: the target is F_null + omega (v_t - F_null).

    A class row's fixed point is the guided velocity, a null row's is E[v | x_t], so sampling takes one pass a step
    (arXiv 2601.22679, Pre-CFG).
    """

    on_diagonal: ClassVar[bool] = True

    omega: NonNegative = 2.0

    @property
    def in_weights(self) -> bool:
        return self.omega != 1

    def target(self, net: VelocityNet, x_t: Tensor, t: Tensor, v_t: Tensor, cond: Cond) -> Tensor:
        F_null = self.unconditional(net, x_t, t, cond)
        return F_null + self.omega * (v_t - F_null)


@register("guidance", "mixed")
@dataclass(frozen=True)
class MixedCFG(ConditionDropout):
    """omega v_t + kappa F_c + (1 - omega - kappa) F_null, F_c and F_null the network's own without gradient.

    The fixed point is that of Pre-CFG at omega / (1 - kappa); the smaller omega, the less of the conditional velocity's
    noise is in the target (MeanFlow, arXiv 2505.13447, eq. 21; alpha-Flow). omega = 1, kappa = 1 - 1 / w is improved
    MeanFlow's v + (1 - 1 / w) (F_c - F_null) (arXiv 2512.02012).
    """

    on_diagonal: ClassVar[bool] = True

    omega: Positive = 1.0
    kappa: Annotated[float, Range(least=0, below=1)] = 0.5

    @property
    def in_weights(self) -> bool:
        return self.omega != 1 - self.kappa

    def target(self, net: VelocityNet, x_t: Tensor, t: Tensor, v_t: Tensor, cond: Cond) -> Tensor:
        calls = [(x_t, t, t, cond), (x_t, t, t, without(cond, self.null))]
        with torch.no_grad():
            F_c, F_null = net(*stack(calls)).chunk(2)
        return self.omega * v_t + self.kappa * F_c + (1 - self.omega - self.kappa) * F_null


@register("guidance", "interval")
@dataclass(frozen=True, kw_only=True)
class IntervalCFG(ConditionDropout):
    """Pre-CFG whose scale and interval the network is told: omega = exp(U ln omega_max), active for t_min <= t / T <
    t_max (`Path.share` in the place of t / T).

    t_min ~ U(0, 1/2), t_max ~ U(1/2, 1), drawn per sample and given as "omega", "t_min", "t_max"; outside the interval
    the scale is 1 (the larger recipe of arXiv 2601.22679).
    one_outside: tell the network omega = 1 for jumps that start outside the interval, in training and sampling, as the
    released networks were. A jump from outside into the interval does not know its scale then; by default it does.
    """

    on_diagonal: ClassVar[bool] = True
    inputs: ClassVar[tuple[str, ...]] = ("omega", "t_min", "t_max")

    path: Path
    omega_max: Annotated[float, Range(above=1)] = 8.0
    one_outside: bool = False

    @property
    def in_weights(self) -> bool:
        return True

    def prepare(self, cond: Cond, rng: Generator, n: int) -> Cond:
        dropped = super().prepare(cond, rng, n)
        u = torch.rand(3, n, generator=rng, device=rng.device)
        return dropped | {"omega": self.omega_max ** u[0], "t_min": 0.5 * u[1], "t_max": 0.5 + 0.5 * u[2]}

    def told(self, cond: Cond, t: Tensor) -> Cond:
        return cond | {"omega": self.scale(cond, t)} if self.one_outside and "omega" in cond else cond

    def scale(self, cond: Cond, t: Tensor) -> Tensor:
        """[n] the scale at times t: omega inside the interval, 1 outside. An interval up to 1 has the noise in it."""
        share, omega = self.path.share(t), cond["omega"]
        first, last = cond.get("t_min", torch.zeros_like(omega)), cond.get("t_max", torch.ones_like(omega))
        inside = (first <= share) & ((share < last) | (last >= 1))
        return torch.where(inside, omega, torch.ones_like(omega))

    def target(self, net: VelocityNet, x_t: Tensor, t: Tensor, v_t: Tensor, cond: Cond) -> Tensor:
        omega = self.scale(cond, t)
        F_null = self.unconditional(net, x_t, t, cond)
        return F_null + expand(omega, v_t) * (v_t - F_null)
