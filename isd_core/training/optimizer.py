"""Optimisers, their state as plain tensors, and the steps that they skip.

A step whose gradient is not finite changes neither weights nor the optimiser's state. The host learns of it when
something is logged or saved, so that no step waits for the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Skipped(NamedTuple):
    """What was skipped since the last reading. longest: the most steps in a row, the row that went on then included."""

    steps: int
    longest: int


class Skips:
    """Makes the steps of an optimiser and counts the skipped ones on its device."""

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._optimizer = optimizer
        # torch's fused optimisers read a flag on the device, which is how its gradient scaler skips steps; of those for
        # mps that is not known
        self._by_flag = device.type != "mps" and all(group.get("fused") for group in optimizer.param_groups)
        self._row, self._count, self._longest = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(3))

    def step(self, norm: Tensor) -> None:
        """One step of the optimiser, unless the gradients' norm, a scalar, is not finite.

        Optimisers that are not fused cannot be told on the device: before their steps the host waits for the norm.
        """
        bad = norm.isfinite().logical_not()
        if self._by_flag:
            self._optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
            self._optimizer.step()
        elif not bad:
            self._optimizer.step()
        self._row = (self._row + 1) * bad
        self._count = self._count + bad
        self._longest = torch.maximum(self._longest, self._row)

    @property
    def in_a_row(self) -> int:
        """How many of the latest steps were skipped one after the other; waits for the device."""
        return int(self._row)

    def read(self) -> Skipped:
        """What was skipped since the last reading; waits for the device."""
        steps, longest = torch.stack((self._count, self._longest)).tolist()
        self._count, self._longest = torch.zeros_like(self._count), self._row
        return Skipped(steps, longest)
