"""Optimisers, and their state as plain tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isd_core.support.fields import Decay, NonNegative, Positive
from isd_core.support.registry import register, role
from isd_core.training.sharding import sharded_like


@role("optimizer", "optimizers")
class OptimizerConfig(ABC):
    """The settings of an optimiser. lr: the peak learning rate, which the trainer's schedule scales."""

    lr: Positive

    @abstractmethod
    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of all parameters that want a gradient. One whose groups are `fused` is told on the device
        which steps to skip; before those of another the host waits for the gradients."""


@register("optimizer", "adamw")
@dataclass(frozen=True)
class AdamW(OptimizerConfig):
    """AdamW (1711.05101). Weight decay acts on tensors of two or more axes alone."""

    lr: Positive = 1e-4
    betas: tuple[Decay, Decay] = (0.95, 0.999)
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 1e-6

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        wanted = [p for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.lr, betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The state as {"<parameter>.<name>": tensor} and the parameter groups as JSON-able dicts."""
    state = optimizer.state_dict()
    tensors = {f"{index}.{name}": value for index, entry in state["state"].items() for name, value in entry.items()}
    return tensors, state["param_groups"]


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Puts back what `optimizer_tensors` gave, as full tensors; those with a parameter's axes are sharded as it is."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        state.setdefault(int(index), {})[name] = (
            sharded_like(value, parameter) if value.ndim == parameter.ndim else value
        )
    optimizer.load_state_dict({"state": state, "param_groups": groups})
