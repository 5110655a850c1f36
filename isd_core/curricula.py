"""Values that follow the training's step k of K."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from isd_core.support.fields import Count, Index, OpenShare, Positive, Real
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
    """From 1 to 0 around the middle of [start, end] with temperature `gamma`, then exactly `floor` (alpha-Flow, eq.
    11).

    Values within `floor` of 0 or 1 are clamped to `floor` and 1.
    """

    start: Index
    end: Count
    gamma: Positive = 25.0
    floor: OpenShare = 0.005

    def __call__(self, step: int) -> float:
        scale = 1 / max(1, self.end - self.start)
        value = 1 - 1 / (1 + math.exp(-self.gamma * ((step - (self.start + self.end) / 2) * scale)))
        if value > 1 - self.floor:
            return 1.0
        return max(value, self.floor)
