"""Demonstrations, whatever file they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from isd_policy.observations import ObservationSchema


class Rows(Protocol):
    """Steps in memory or on disk. shape: [N, ...]."""

    shape: tuple[int, ...]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The given rows, an integer array of any shape, as [*rows.shape, ...]."""


@dataclass(frozen=True)
class Demonstrations:
    """Episodes one after another.

    observations: key -> [N, d] float32, or pictures [N, H, W, C] of bytes, which may be on disk; actions: [N, Da]
    float32 as the robot takes them; lengths: [E] steps of each episode, summing to N; names: the episodes' names in
    their file; env_args: what the file says about its environment; source: the file.
    """

    observations: Mapping[str, Rows]
    actions: np.ndarray
    lengths: np.ndarray
    names: tuple[str, ...]
    env_args: dict[str, Any]
    source: str

    @property
    def schema(self) -> ObservationSchema:
        """Names and shapes of the observations."""
        return ObservationSchema({key: tuple(value.shape[1:]) for key, value in self.observations.items()})

    @property
    def state(self) -> np.ndarray:
        """The joined numbers of every step, [N, Do] float32."""
        numbers = [np.asarray(self.observations[key]) for key in self.schema.numbers]
        return np.concatenate(numbers, axis=1) if numbers else np.zeros((len(self.actions), 0), np.float32)

    def __len__(self) -> int:
        return len(self.lengths)
