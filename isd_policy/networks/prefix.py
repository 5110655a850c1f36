"""The actions that are given as an input of a policy's network: `cond["prefix"]`, where `cond["known"]` marks them."""

from __future__ import annotations

from torch import Tensor

from isd_core.network import KNOWN, Cond

PREFIX = "prefix"
"""The given actions, normalised, [B, T, Da]; 0 where nothing is given."""


def with_prefix(x: Tensor, cond: Cond) -> Tensor:
    """The chunk x [B, T, Da] with the given actions in their places, whatever stood there."""
    return x * (1 - cond[KNOWN]) + cond[PREFIX]


def predicted(F: Tensor, cond: Cond) -> Tensor:
    """F [B, T, Da] of what is to be predicted, 0 where the actions are given."""
    return F * (1 - cond[KNOWN])
