"""Exponential moving averages of weights."""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from isd_core.support.fields import Decay, Positive, Range
from isd_core.support.registry import register, role
from isd_core.training.sharding import local_shard, sharded_like


@role("average", "averages")
class DecayLaw(ABC):
    """The decay of update number k = 1, 2, ..."""

    @abstractmethod
    def __call__(self, k: int) -> float: ...


@register("average", "constant")
@dataclass(frozen=True)
class ConstantDecay(DecayLaw):
    """The same decay at every update."""

    decay: Decay = 0.9999

    def __call__(self, k: int) -> float:
        return self.decay


@register("average", "power")
@dataclass(frozen=True)
class PowerDecay(DecayLaw):
    """1 - (1 + k)^-power, at most `maximum`: short memory first, long memory later (Diffusion Policy's law)."""

    power: Positive = 0.75
    maximum: Decay = 0.9999

    def __call__(self, k: int) -> float:
        return min(1 - (1 + k) ** -self.power, self.maximum)


@register("average", "power_function")
@dataclass(frozen=True)
class PowerFunctionDecay(DecayLaw):
    """(1 - 1/k)^(gamma + 1): weights at step k of K count as k^gamma (EDM2, arXiv 2312.02696, eq. 123 on).

    length: the standard deviation of that profile as a share of the run, below 12^(-1/2). Two such averages, kept in
    several checkpoints, give any other length afterwards (`isd_core.training.post_hoc`).
    """

    length: Annotated[float, Range(above=0.001, below=12**-0.5)] = 0.1

    @property
    def gamma(self) -> float:
        """The power whose profile has this length."""
        return gamma_of(self.length)

    def __call__(self, k: int) -> float:
        return (1 - 1 / k) ** (self.gamma + 1)


@functools.cache
def gamma_of(length: float) -> float:
    """gamma such that (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), the variance of k / K by k^gamma, is length^2."""
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        wide = (middle + 1) / ((middle + 2) ** 2 * (middle + 3)) > length**2
        low, high = (middle, high) if wide else (low, middle)
    return (low + high) / 2


class EMA:
    """The average of a module's parameters; buffers are copied. `state` has the module's state-dict keys."""

    def __init__(self, module: nn.Module, law: DecayLaw) -> None:
        self.law = law
        self.updates = 0
        self.averaged = {key for key, _ in module.named_parameters(remove_duplicate=False)}
        self.state: dict[str, Tensor] = {key: value.detach().clone() for key, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Moves the average towards the module's present weights."""
        self.updates += 1
        decay = self.law(self.updates)
        current = {key: local_shard(value) for key, value in module.state_dict().items()}
        average = {key: local_shard(value) for key, value in self.state.items()}
        averaged = [key for key in current if key in self.averaged]
        torch._foreach_lerp_([average[key] for key in averaged], [current[key] for key in averaged], 1 - decay)
        for key in current.keys() - set(averaged):
            average[key].copy_(current[key])

    def follow(self, module: nn.Module) -> nn.Module:
        """A copy of the averaged module, in evaluation and without gradients, whose weights are the average itself."""
        copied = copy.deepcopy(module).eval().requires_grad_(False)
        copied.load_state_dict(self.state, assign=True)
        return copied.requires_grad_(False)

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Puts back a saved average of the same module, after so many updates."""
        for key, value in state.items():
            local_shard(self.state[key]).copy_(local_shard(sharded_like(value, self.state[key])))
        self.updates = updates
