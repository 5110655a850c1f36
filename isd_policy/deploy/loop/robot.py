"""What the control loop asks of a robot and of a policy, and a robot without a body."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from isd_core.support import seeds
from isd_policy.backend import Call, Row
from isd_policy.deploy.loop.clock import Clock, MonotonicClock
from isd_policy.horizons import Horizons
from isd_policy.observations import ObservationSchema

REMEMBERED = 1000
"""Actions that the fake robot remembers."""


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

    @property
    def longest_prefix(self) -> int | None:
        """How many actions a call may be given as its prefix; None for a policy that was trained without."""

    def row(self, obs: Mapping[str, np.ndarray]) -> Row:
        """A checked copy of one observation; raises an exception whose message says what is wrong with it."""

    def preprocess(self, calls: Sequence[Call]) -> Any: ...

    def infer(self, inputs: Any) -> np.ndarray:
        """Actions from the newest observation on, [B, n, Da]."""


class FakeRobot:
    """A robot without a body, for trying a policy, a server or a loop of your own.

    It observes random numbers of the stream (seed, "fake robot"), and remembers the last actions and their times.
    """

    def __init__(self, schema: ObservationSchema, clock: Clock | None = None, seed: int = 0) -> None:
        self.schema = schema
        self.clock: Clock = MonotonicClock() if clock is None else clock
        self.rng = seeds.numpy_rng(seed, "fake robot")
        self.written: deque[tuple[float, np.ndarray]] = deque(maxlen=REMEMBERED)
        self.stops = 0

    def read(self) -> Stamped:
        return Stamped({key: self._draw(key) for key in self.schema.shapes}, self.clock.now())

    def write(self, action: np.ndarray) -> None:
        self.written.append((self.clock.now(), action))

    def stop(self) -> None:
        self.stops += 1

    def _draw(self, key: str) -> np.ndarray:
        shape = self.schema.shapes[key]
        if key in self.schema.pictures:
            return self.rng.integers(256, size=shape, dtype=np.uint8)
        return self.rng.standard_normal(shape)
