"""How many first actions of a chunk are given in training: a group of configs (`delay`), and a part of the policy.

While a call of the policy runs, the robot executes what is left of its last chunk. A policy that was trained with the
first d actions of its chunks given (arXiv 2512.05964) is told these actions and continues them, at no cost of a call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isd_core.support.errors import InputError
from isd_core.support.fields import Index, NonNegative
from isd_core.support.registry import register, role


@role("delay", "delays")
class DelayLaw(ABC):
    """A law of the number d of given actions, in control steps. told: whether the network has an input for them."""

    told = True

    @property
    @abstractmethod
    def longest(self) -> int:
        """The largest d."""

    @abstractmethod
    def sample(self, n: int, rng: Generator) -> Tensor:
        """d of `n` chunks, [n] integers from 0 to `longest`."""


@register("delay", "none")
@dataclass(frozen=True)
class NoPrefix(DelayLaw):
    """Nothing is ever given, and the network has no input for it."""

    told = False

    @property
    def longest(self) -> int:
        return 0

    def sample(self, n: int, rng: Generator) -> Tensor:
        return torch.zeros(n, dtype=torch.long, device=rng.device)


@register("delay", "fixed")
@dataclass(frozen=True)
class Fixed(DelayLaw):
    """d = steps."""

    steps: Index = 0

    @property
    def longest(self) -> int:
        return self.steps

    def sample(self, n: int, rng: Generator) -> Tensor:
        return torch.full((n,), self.steps, device=rng.device)


@register("delay", "uniform")
@dataclass(frozen=True)
class Uniform(DelayLaw):
    """Every d from 0 to `most` alike."""

    most: Index = 6

    @property
    def longest(self) -> int:
        return self.most

    def sample(self, n: int, rng: Generator) -> Tensor:
        return torch.randint(self.most + 1, (n,), generator=rng, device=rng.device)


@register("delay", "exponential")
@dataclass(frozen=True)
class Exponential(DelayLaw):
    """d from 0 to `most`, each exp(-decay) times as likely as the one before: long delays are rare, and teach less."""

    most: Index = 6
    decay: NonNegative = 1.0

    @property
    def longest(self) -> int:
        return self.most

    def sample(self, n: int, rng: Generator) -> Tensor:
        weights = torch.exp(-self.decay * torch.arange(self.most + 1, device=rng.device))
        return torch.multinomial(weights, n, replacement=True, generator=rng)


def check_delay(law: DelayLaw, ahead: int) -> None:
    """Raises `InputError` for a law that may leave nothing of the `ahead` actions from the newest observation on."""
    if law.longest >= ahead:
        raise InputError(
            f"delay: up to {law.longest} actions would be given, but only {ahead} lie ahead of the newest observation "
            f"and one at least must be left to predict. Choose a delay of at most {ahead - 1}, or a longer "
            "horizons.prediction."
        )
