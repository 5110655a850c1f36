"""What the core asks of a network, and how its calls are batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from isd_core.support.registry import declare_role

GIVEN = ("action_size", "condition_size", "horizon", "channels", "size", "classes", "clock")  # what the heads know
declare_role("network", "networks", nn.Module, GIVEN)
declare_role("parametrisation", "parametrisations", nn.Module, ("net", "path"))

Cond = dict[str, Tensor]
Call = tuple[Tensor, Tensor, Tensor, Cond]


class VelocityNet(Protocol):
    """F(x; t, s, cond). x: [B, ...]; t, s: [B] in path time; cond: named tensors with B on their first axis."""

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor: ...


def stack(calls: Sequence[Call]) -> Call:
    """Several calls (x, t, s, cond) as one of all their rows."""
    xs, ts, ss, conds = zip(*calls, strict=True)
    joined = {key: torch.cat([cond[key] for cond in conds]) for key in conds[0]}
    return torch.cat(xs), torch.cat(ts), torch.cat(ss), joined


def has_dropout(net: VelocityNet) -> bool:
    """Whether `net` is a module in training with dropout in it."""
    modules = net.modules() if isinstance(net, nn.Module) and net.training else ()
    return any(isinstance(module, _DropoutNd) and module.p > 0 for module in modules)


class SameDropout:
    """`net` with the same dropout masks in every call of as many rows: those that its next call would have had."""

    def __init__(self, net: VelocityNet, device: torch.device) -> None:
        self.net, self.cuda = net, device if device.type == "cuda" else None
        self.state = torch.get_rng_state() if self.cuda is None else torch.cuda.get_rng_state(self.cuda)

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        if self.cuda is None:
            torch.set_rng_state(self.state)
        else:
            torch.cuda.set_rng_state(self.state, self.cuda)
        return self.net(x, t, s, cond)


class Trainable(nn.Module):
    """What is trained: `net` is F, and `prepare` turns a batch into data in normalised units and conditioning."""

    net: nn.Module

    def prepare(self, batch: Any, rng: Generator) -> tuple[Tensor, Cond]:
        """Data [B, ...] and its conditioning; `rng` draws augmentation."""
        raise NotImplementedError
