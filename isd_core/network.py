"""What the core asks of a network, and how its calls are batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

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


class Trainable(nn.Module):
    """What is trained: `net` is F, and `prepare` turns a batch into data in normalised units and conditioning."""

    net: nn.Module

    def prepare(self, batch: Any, rng: Generator) -> tuple[Tensor, Cond]:
        """Data [B, ...] and its conditioning; `rng` draws augmentation."""
        raise NotImplementedError
