"""Values that follow the training's step k of K."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from isd_core.support.errors import InputError
from isd_core.support.fields import Count, OpenShare, Positive, Real, Share
from isd_core.support.registry import register, role


@role("curriculum", "curricula")
class Curriculum(ABC):
    """The value at optimiser step `step` = 0, 1, ..."""

    @abstractmethod
    def __call__(self, step: int) -> float: ...


@register("curriculum", "constant")
@dataclass(frozen=True)
class Constant(Curriculum):
    """The same value at every step."""

    value: Real = 1.0

    def __call__(self, step: int) -> float:
        return self.value


@register("curriculum", "ramp")
@dataclass(frozen=True)
class Ramp(Curriculum):
    """Linear from 0 at step 0 to 1 at step `share * steps` and after (sCM's tangent warm-up)."""

    steps: Count
    share: OpenShare = 1.0

    def __call__(self, step: int) -> float:
        return min(1.0, step / (self.share * self.steps))


@register("curriculum", "square_root")
@dataclass(frozen=True)
class SquareRoot(Curriculum):
    """Consistency training's grid size, N(k) = ceil(sqrt(k / K ((s1 + 1)^2 - s0^2) + s0^2) - 1) + 1 (arXiv 2303.01469).

    K = `steps`: from s0 points at step 0 to s1 + 1 at step K and after.
    """

    steps: Count
    s0: Count = 2
    s1: Count = 150

    def __call__(self, step: int) -> float:
        share = min(1.0, step / self.steps)
        return math.ceil(math.sqrt(share * ((self.s1 + 1) ** 2 - self.s0**2) + self.s0**2) - 1) + 1


@register("curriculum", "doubling")
@dataclass(frozen=True)
class Doubling(Curriculum):
    """iCT's grid size, N(k) = min(s0 2^floor(k / K'), s1) + 1, K' = floor(K / (log2 floor(s1 / s0) + 1))."""

    steps: Count
    s0: Count = 10
    s1: Count = 1280

    def __call__(self, step: int) -> float:
        period = max(1, math.floor(self.steps / (math.log2(self.s1 // self.s0) + 1)))
        return min(self.s0 * 2 ** (step // period), self.s1) + 1


@register("curriculum", "sigmoid")
@dataclass(frozen=True)
class Sigmoid(Curriculum):
    """From 1 to 0 around the middle of [start, end], shares of the run of K = `steps` steps (alpha-Flow, eq. 11).

    1 - sigmoid(gamma (k - (a + b) / 2) / (b - a)), a and b being start and end in steps. Values within `clamp` of 0 and
    1 are exactly 0 and 1: the run begins with one method and ends with the other.
    """

    steps: Count
    start: Share = 0.0
    end: OpenShare = 1.0
    gamma: Positive = 25.0
    clamp: OpenShare = 0.005

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise InputError(f"sigmoid.start={self.start} must lie before sigmoid.end={self.end}, shares of the run.")

    def __call__(self, step: int) -> float:
        place = (step / self.steps - self.start) / (self.end - self.start)
        value = 1 - 1 / (1 + math.exp(-self.gamma * (min(max(place, 0.0), 1.0) - 0.5)))
        return 1.0 if value > 1 - self.clamp else 0.0 if value < self.clamp else value


@register("curriculum", "exponential")
@dataclass(frozen=True)
class Exponential(Curriculum):
    """first (last / first)^(k / K), K = `steps`: equal factors in equal times (SoFlow, arXiv 2512.15657)."""

    steps: Count
    first: Positive = 0.1
    last: Positive = 0.002

    def __call__(self, step: int) -> float:
        return self.first * (self.last / self.first) ** min(1.0, step / self.steps)
