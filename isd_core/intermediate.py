"""Laws of the point u between t and s through which the semigroup identity goes, s <= u <= t."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Generator, Tensor

from isd_core.curricula import Curriculum
from isd_core.paths import Path
from isd_core.support.fields import Count, NonNegative, Positive, Range
from isd_core.support.registry import register, role
from isd_core.times import KarrasGrid


def inverse_length(t: Tensor, u: Tensor) -> Tensor:
    """1 / (t - u), finite where t = u (there the residual is 0)."""
    return 1 / (t - u).clamp_min(torch.finfo(t.dtype).eps)


class IntermediateTime(NamedTuple):
    """u [n] and the residual's weight [n] (None: 1).

    direct: u is s in every row, so f(u, s) is the identity; limit: u is t in every row, where the identity becomes the
    Eulerian one.
    """

    u: Tensor
    weight: Tensor | None = None
    direct: bool = False
    limit: bool = False


@role("intermediate", "intermediate_times")
class IntermediateLaw(ABC):
    """A law of u, given t and s, both [n]."""

    @abstractmethod
    def sample(self, t: Tensor, s: Tensor, path: Path, rng: Generator, step: int) -> IntermediateTime: ...


@register("intermediate", "midpoint")
@dataclass(frozen=True)
class Midpoint(IntermediateLaw):
    """u = (t + s) / 2."""

    def sample(self, t: Tensor, s: Tensor, path: Path, rng: Generator, step: int) -> IntermediateTime:
        return IntermediateTime((t + s) / 2)


@register("intermediate", "uniform")
@dataclass(frozen=True)
class UniformIntermediate(IntermediateLaw):
    """u uniform on [s, t]."""

    def sample(self, t: Tensor, s: Tensor, path: Path, rng: Generator, step: int) -> IntermediateTime:
        return IntermediateTime(s + (t - s) * torch.rand(t.shape, generator=rng, device=rng.device, dtype=t.dtype))


@register("intermediate", "fraction")
@dataclass(frozen=True)
class Fraction(IntermediateLaw):
    """u = t - alpha (t - s), weight 1 / alpha: alpha-Flow (arXiv 2510.20771); alpha = 0 is MeanFlow."""

    alpha: Curriculum

    def sample(self, t: Tensor, s: Tensor, path: Path, rng: Generator, step: int) -> IntermediateTime:
        alpha = self.alpha(step)
        if alpha >= 1:
            return IntermediateTime(s, direct=True)
        if alpha <= 0:
            return IntermediateTime(t, limit=True)
        return IntermediateTime(t - alpha * (t - s), torch.full_like(t, 1 / alpha))


@register("intermediate", "previous_on_grid")
@dataclass(frozen=True)
class PreviousOnGrid(IntermediateLaw):
    """The grid point below t, weight 1 / (t - u): improved consistency training (arXiv 2310.14189)."""

    grid: KarrasGrid
    weighted: bool = True

    def sample(self, t: Tensor, s: Tensor, path: Path, rng: Generator, step: int) -> IntermediateTime:
        points = self.grid.points(path, step, t)
        u = points[torch.searchsorted(points, t) - 1]
        return IntermediateTime(u, inverse_length(t, u) if self.weighted else None, direct=len(points) == 2)


@register("intermediate", "easy_ratio")
@dataclass(frozen=True)
class EasyRatio(IntermediateLaw):
    """u = t (1 - n(t) / q^stage), n(t) = 1 + k sigmoid(-b t), weight 1 / (t - u); `stages` equal parts of the run.

    ECT (arXiv 2406.14548, eq. 16): the first stage has u = s, plain denoising; then u approaches t.
    """

    steps: Count
    stages: Count = 8
    q: Annotated[float, Range(above=1)] = 2.0
    k: NonNegative = 8.0
    b: Positive = 1.0

    def sample(self, t: Tensor, s: Tensor, path: Path, rng: Generator, step: int) -> IntermediateTime:
        stage = step * self.stages // self.steps
        if stage == 0:
            return IntermediateTime(s, inverse_length(t, s), direct=True)
        n = 1 + self.k * torch.sigmoid(-self.b * t)
        u = torch.maximum(t * (1 - n / self.q**stage), s)
        return IntermediateTime(u, inverse_length(t, u))
