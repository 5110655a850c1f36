"""A robot without a body, for trying a policy, a server or one's own loop."""

from __future__ import annotations

from collections import deque

import numpy as np

from isd_core.support import seeds
from isd_policy.deploy.clock import Clock, MonotonicClock
from isd_policy.deploy.robot import Stamped
from isd_policy.observations import ObservationSchema

REMEMBERED = 1000


class FakeRobot:
    """Observes random numbers of the stream (seed, "fake robot"), and remembers the last actions and their times."""

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
