"""The guidance interval as an input of a policy's network."""

from __future__ import annotations

import torch
from torch import Tensor

from isd_core.network import Cond

GUIDANCE = ("omega", "t_min", "t_max")


def interval(t: Tensor, cond: Cond) -> Tensor:
    """ln omega, t_min and t_max, [B, 3], from cond (1, 0 and 1, no guidance, where they are absent). t: [B]."""
    ones = torch.ones_like(t)
    values = cond.get("omega", ones).log(), cond.get("t_min", 0 * ones), cond.get("t_max", ones)
    return torch.stack([value.to(t) for value in values], dim=1)
