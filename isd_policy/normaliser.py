"""Scaling between the data's units and [-1, 1]. It lives in the policy and in its checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isd_core.support.errors import InputError

CONSTANT_RANGE = 1e-4
"""Below this range a dimension counts as constant: it is centred and not stretched."""


class MinMax(nn.Module):
    """Per-dimension min-max scaling to [-1, 1] over the last axis.

    low, high: [d] smallest and largest value in the training data; `InputError` unless they are finite and in order.
    d may be 0, for observations without numbers.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        if low.ndim != 1 or low.shape != high.shape:
            raise InputError(
                f"Normaliser statistics need two equal vectors, not {list(low.shape)} and {list(high.shape)}."
            )
        if not bool((torch.isfinite(low) & torch.isfinite(high) & (low <= high)).all()):
            raise InputError(
                "Normaliser statistics are missing or unusable (not finite, or a minimum above its maximum): low "
                f"{low.tolist()}, high {high.tolist()}. Fit them on data, or load them from a trained policy."
            )
        self.register_buffer("low", low.to(torch.float32, copy=True))
        self.register_buffer("high", high.to(torch.float32, copy=True))

    @classmethod
    def fit(cls, values: Tensor, unscaled: Tensor | None = None) -> MinMax:
        """Statistics of `values` [N, d]; numbers that `unscaled` [d] marks lie in [-1, 1] and are left as they are."""
        low, high = values.aminmax(dim=0)
        if unscaled is not None:
            low, high = torch.where(unscaled, -1.0, low), torch.where(unscaled, 1.0, high)
        return cls(low, high)

    @property
    def size(self) -> int:
        """d, the number of dimensions."""
        return len(self.low)

    @property
    def half_range(self) -> Tensor:
        """[d] what a normalised step of 1 means in the data's units."""
        spread = self.high - self.low
        return torch.where(spread < CONSTANT_RANGE, torch.ones_like(spread), spread / 2)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] in the data's units -> normalised."""
        return (x - (self.low + self.high) / 2) / self.half_range

    def inverse(self, x: Tensor) -> Tensor:
        """[..., d] normalised -> in the data's units."""
        return x * self.half_range + (self.low + self.high) / 2
