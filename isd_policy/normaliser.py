"""Scaling between the data's units and [-1, 1]. It lives in the policy and in its checkpoint."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from isd_core.support.errors import InputError

CONSTANT_RANGE = 1e-4
"""Below this range a dimension counts as constant: it is centred and not stretched. Of actions it is left out."""
FARTHEST = 1e6
"""Half ranges of the training data beyond which a number is no observation: what the arithmetic makes of it depends on
who computes (torch overflows where ONNX Runtime does not), so nobody answers it."""


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
        """Statistics of `values` [N, d]; numbers that `unscaled` [d] marks lie in [-1, 1] and are left as they are,
        unless they are constant.
        """
        low, high = values.aminmax(dim=0)
        if unscaled is not None:
            whole = unscaled & (high - low >= CONSTANT_RANGE)
            low, high = torch.where(whole, -1.0, low), torch.where(whole, 1.0, high)
        return cls(low, high)

    @property
    def size(self) -> int:
        """d, the number of dimensions."""
        return len(self.low)

    @property
    def varies(self) -> Tensor:
        """[d] which dimensions are not constant in the training data."""
        return self.high - self.low >= CONSTANT_RANGE

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


def half_range(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[d] `MinMax.half_range` of statistics that are arrays: 1 for a constant number."""
    return np.where(high - low < CONSTANT_RANGE, 1.0, (high - low) / 2)


class ActionScale(nn.Module):
    """Between the robot's encoded actions and what a network learns of them: scaled, without the constant dimensions.

    scale: of the encoded actions [d]. A dimension that never changes in the data is no part of the network's chunk: no
    loss is spent on it, no noise is drawn for it, and what a robot gets is the constant. Raises `InputError` when all
    are constant.
    """

    taken: Tensor
    source: Tensor

    def __init__(self, scale: MinMax) -> None:
        super().__init__()
        self.scale = scale
        taken = scale.varies.nonzero().flatten()
        if scale.size and not len(taken):
            raise InputError("No number of the actions changes in the demonstrations: there is nothing to learn.")
        source = torch.full((scale.size,), len(taken))  # the column of zeros that `inverse` appends
        source[taken] = torch.arange(len(taken))
        self.register_buffer("taken", taken, persistent=False)
        self.register_buffer("source", source, persistent=False)

    @property
    def size(self) -> int:
        """The network's numbers of an action."""
        return len(self.taken)

    @property
    def constant(self) -> list[int]:
        """The dimensions that are left out."""
        return [i for i in range(self.scale.size) if i not in self.taken.tolist()]

    def forward(self, actions: Tensor) -> Tensor:
        """[..., d] encoded actions -> [..., size] normalised."""
        normalised = self.scale(actions)
        return normalised if self.size == self.scale.size else normalised.index_select(-1, self.taken)

    def inverse(self, chunk: Tensor) -> Tensor:
        """[..., size] normalised -> [..., d] encoded actions."""
        if self.size != self.scale.size:
            zeros = torch.zeros_like(chunk[..., :1])
            chunk = torch.cat([chunk, zeros], dim=-1).index_select(-1, self.source)
        return self.scale.inverse(chunk)
