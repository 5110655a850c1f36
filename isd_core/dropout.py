"""Dropout whose masks belong to the rows of a batch, so that all passes of a step see the same network.

A derivative by differences compares two passes: with masks of their own it measures the masks. So a step draws one key
for each row of its batch, which travels with the row's conditioning through every pass (`stack`, slices, halves of a
difference, an exact derivative); a mask is a hash of the key, the place of the dropout module and the element. Nothing
is stored between passes, and a compiled step computes the same masks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from isd_core.network import Cond, VelocityNet
from isd_core.support.errors import InputError

KEYS = "dropout_keys"
"""The entry of the conditioning that holds a row's key; networks never see it."""
BITS = 32
MASK = 2**BITS - 1
ODD = 0x9E3779B1  # the golden ratio in 32 bits: neighbours of a count end far apart


class KeyedDropout(_DropoutNd):
    """Dropout of elements whose masks are those of `keys` [B] where they are set, and drawn anew where not."""

    channels = False  # whether whole channels, [B, C], are dropped
    keys: Tensor | None = None
    place = 0
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self.keys is None:
            return self._drawn(x)
        self.calls += 1
        shape = x.shape[:2] if self.channels else x.shape
        number = self.keys + ODD * (1 + self.place + 4096 * self.calls)  # [B]
        count = torch.arange(shape[1:].numel(), device=x.device)
        bits = mixed(mixed(number)[:, None] + ODD * count)  # [B, elements of a row], each in [0, 2^32)
        keep = (bits >= int(self.p * 2**BITS)).view(shape + (1,) * (x.ndim - len(shape)))
        return torch.where(keep, x / (1 - self.p) if self.p < 1 else x, torch.zeros_like(x))

    def _drawn(self, x: Tensor) -> Tensor:
        if torch._C._current_graph_task_id() != -1:  # inside a backward pass, where a recomputed block comes again
            raise RuntimeError(
                "a block with dropout was recomputed in the backward pass, where its masks are gone: turn the "
                "recomputing of activations off, or the dropout"
            )
        return nn.functional.dropout(x, self.p) if not self.channels else self._drawn_channels(x)

    def _drawn_channels(self, x: Tensor) -> Tensor:
        mask = nn.functional.dropout(torch.ones(x.shape[:2], dtype=x.dtype, device=x.device), self.p)
        return x * mask.view(mask.shape + (1,) * (x.ndim - 2))


class KeyedChannelDropout(KeyedDropout):
    """The same for channels, [B, C, ...]."""

    channels = True


KINDS: dict[type[nn.Module], type[KeyedDropout]] = {
    nn.Dropout: KeyedDropout,
    nn.Dropout1d: KeyedChannelDropout,
    nn.Dropout2d: KeyedChannelDropout,
    nn.Dropout3d: KeyedChannelDropout,
}


def mixed(number: Tensor) -> Tensor:
    """A hash of integers: each bit of the 32 lowest of the result depends on all of those of the argument."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        number = number & MASK
        number = (number ^ (number >> shift)) * factor
    number = number & MASK
    return number ^ (number >> 15)


def keyed(net: nn.Module) -> list[KeyedDropout]:
    """The dropout modules of `net`, made such that they take keys; all else about them stays.

    Raises `InputError` for a kind of dropout that cannot.
    """
    found: list[Any] = [module for module in net.modules() if isinstance(module, _DropoutNd)]
    for place, module in enumerate(found):
        if type(module) in KINDS:
            # in place, since a network may hold the same module under several names
            module.__class__ = KINDS[type(module)]
        elif not isinstance(module, KeyedDropout):
            raise InputError(
                f"{type(net).__name__} has a {type(module).__name__}, whose masks cannot be shared by the passes of a "
                f"step: use one of {', '.join(sorted(kind.__name__ for kind in KINDS))}."
            )
        module.place = place
    return [module for module in found if isinstance(module, KeyedDropout) and module.p > 0]


class SharedDropout:
    """`net` with dropout masks that are those of the rows' keys in every pass; networks without dropout as they are."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.modules = net, keyed(net)

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        for module in self.modules:
            module.keys, module.calls = cond[KEYS], 0
        try:
            F: Tensor = self.net(x, t, s, without_keys(cond))
        finally:
            for module in self.modules:
                module.keys = None
        return F


def shared(net: VelocityNet, cond: Cond, n: int, device: torch.device) -> tuple[VelocityNet, Cond]:
    """For one step on `n` rows: the network and its conditioning, such that its passes share dropout masks.

    The keys are drawn from torch's own generator, as dropout is. A network in evaluation, or without dropout, and its
    conditioning are given back as they are.
    """
    if not (isinstance(net, nn.Module) and net.training and has_dropout(net)):
        return net, cond
    return SharedDropout(net), cond | {KEYS: torch.randint(2**BITS, (n,), device=device)}


def has_dropout(net: nn.Module) -> bool:
    """Whether there are dropout modules in `net` that drop anything."""
    return any(isinstance(module, _DropoutNd) and module.p > 0 for module in net.modules())


def without_keys(cond: Cond) -> Cond:
    """The conditioning as networks see it."""
    return {key: value for key, value in cond.items() if key != KEYS}
