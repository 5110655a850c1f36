"""Demonstrations in memory, whatever file they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Demonstrations:
    """Episodes one after another.

    observations: key -> [N, d] float32; actions: [N, Da] float32; lengths: [E] steps of each episode, summing to N;
    names: the episodes' names in their file; env_args: what the file says about its environment; source: the file.
    """

    observations: dict[str, np.ndarray]
    actions: np.ndarray
    lengths: np.ndarray
    names: tuple[str, ...]
    env_args: dict[str, Any]
    source: str

    @property
    def observation_sizes(self) -> dict[str, int]:
        """The length of each observation, in the order in which they are joined."""
        return {key: value.shape[1] for key, value in self.observations.items()}

    def __len__(self) -> int:
        return len(self.lengths)
