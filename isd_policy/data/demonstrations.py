"""Demonstrations, whatever file they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from isd_policy.data import arrays
from isd_policy.observations import ObservationSchema

PICTURES = 64
"""Steps whose pictures `Demonstrations.content` takes: more would read a large file from end to end."""


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
    their file; env_args: what the file says about its environment, None where it has none; source: the file; rate:
    control steps a second, where it is known; labels: key (or `actions`) -> the names of its numbers, where the file
    says them; read_by: the fields of configs/dataset that a program read the file with.
    """

    observations: Mapping[str, Rows]
    actions: np.ndarray
    lengths: np.ndarray
    names: tuple[str, ...]
    env_args: dict[str, Any] | None
    source: str
    rate: float | None = None
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    read_by: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_arrays(
        cls,
        *,
        observations: Mapping[str, np.ndarray],
        actions: np.ndarray,
        episode_ends: Sequence[int] | np.ndarray,
        rate: float | None = None,
        names: Sequence[str] | None = None,
        source: str = "arrays",
        labels: Mapping[str, Sequence[str]] | None = None,
    ) -> Demonstrations:
        """Demonstrations of your own, without a file and without a simulator.

        observations: key -> numbers [N, d] (or [N]), or pictures [N, H, W, C] of bytes; actions: [N, Da] as the robot
        takes them; episode_ends: the row after each episode's last one, rising to N; rate: control steps a second;
        labels: key (or `actions`) -> the names of its numbers. Raises `InputError` for shapes that do not fit each
        other and for numbers that are not finite.
        """
        fields = arrays.checked(observations, actions, episode_ends, rate, names)
        named = arrays.checked_labels(labels or {}, fields["observations"], fields["actions"])
        return cls(**fields, env_args=None, source=source, labels=named)

    @property
    def title(self) -> str:
        """What they are of, as it is printed."""
        return self.source if self.env_args is None else str(self.env_args["env_name"])

    @property
    def schema(self) -> ObservationSchema:
        """Names and shapes of the observations."""
        return ObservationSchema({key: tuple(value.shape[1:]) for key, value in self.observations.items()})

    @property
    def state(self) -> np.ndarray:
        """The joined numbers of every step, [N, Do] float32."""
        numbers = [np.asarray(self.observations[key]) for key in self.schema.numbers]
        return np.concatenate(numbers, axis=1) if numbers else np.zeros((len(self.actions), 0), np.float32)

    def content(self) -> str:
        """The SHA-256 of what a training sees, wherever it lies: all numbers, and of pictures those of `PICTURES` steps
        at most, evenly spread."""
        found = hashlib.sha256()
        for name, values in (("lengths", self.lengths), ("actions", self.actions), ("state", self.state)):
            found.update(f"{name} {values.dtype} {values.shape}".encode() + np.ascontiguousarray(values).tobytes())
        steps = np.linspace(0, len(self.actions) - 1, min(PICTURES, len(self.actions))).astype(np.int64)[:, None]
        for key in self.schema.pictures:
            rows = self.observations[key]
            found.update(f"{key} {rows.shape}".encode() + np.ascontiguousarray(rows[steps]).tobytes())
        return found.hexdigest()

    def __len__(self) -> int:
        return len(self.lengths)
