"""What the control loop asks of a robot and of a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from isd_policy.acting import Call, Row
from isd_policy.horizons import Horizons


class Stamped(NamedTuple):
    """One observation, key -> [d] or [H, W, C], and the time of the loop's clock (s) at which it was made."""

    obs: Mapping[str, np.ndarray]
    time: float


class Robot(Protocol):
    """What the loop drives. Any method may raise; the loop then stops the robot."""

    def read(self) -> Stamped:
        """The newest observation."""

    def write(self, action: np.ndarray) -> None:
        """Applies an action [Da] until the next one."""

    def stop(self) -> None:
        """Brings the robot to a safe standstill. May come from another thread, at any time, more than once."""


class ChunkPolicy(Protocol):
    """What predicts chunks: a policy of any backend (`PolicyBackend`), or a client of a policy server."""

    @property
    def horizons(self) -> Horizons: ...

    def row(self, obs: Mapping[str, np.ndarray]) -> Row:
        """A checked copy of one observation; raises an exception whose message says what is wrong with it."""

    def preprocess(self, calls: Sequence[Call]) -> Any: ...

    def infer(self, inputs: Any) -> np.ndarray:
        """Actions from the newest observation on, [B, n, Da]."""
