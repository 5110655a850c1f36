"""Exponential moving averages of weights."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isd_core.support.fields import Decay, Positive
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
