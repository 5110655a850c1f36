"""Steps whose gradient is not finite: they change neither weights nor the optimiser's state, and the host learns of
them when something is logged or saved, so that no step waits for the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


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
