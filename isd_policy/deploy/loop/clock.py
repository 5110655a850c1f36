"""Monotonic time, the system's or one that passes only when somebody waits, and absolute deadlines in it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time in seconds."""

    def now(self) -> float: ...

    def sleep_until(self, moment: float) -> None: ...


class MonotonicClock:
    """The system's monotonic clock, which no adjustment of the date moves."""

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, moment: float) -> None:
        if (left := moment - self.now()) > 0:
            time.sleep(left)


class VirtualClock:
    """Time that passes by `sleep_until` and `advance` alone: a simulation runs as fast as it computes, and repeats."""

    def __init__(self, start: float = 0.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    def sleep_until(self, moment: float) -> None:
        self.time = max(self.time, moment)

    def advance(self, seconds: float) -> None:
        """Lets time pass, or step back."""
        self.time += seconds


class Schedule:
    """Absolute deadlines from now on: tick k is due at begin + k * period, whatever the ticks before it took.

    Those that pass during a tick are skipped, not made up for.
    """

    def __init__(self, clock: Clock, period: float) -> None:
        self.clock, self.period = clock, period
        self._begin, self._number = clock.now(), 0

    @property
    def due(self) -> float:
        """The present tick's deadline to begin (s)."""
        return self._begin + self._number * self.period

    def stepped_back(self) -> bool:
        """Whether the clock went back, so that the deadline lies beyond the next period; it is then set anew."""
        now = self.clock.now()
        if self.due - now <= 1.5 * self.period:
            return False
        self._begin, self._number = now, 0
        return True

    def advance(self) -> int:
        """On to the next deadline that has not passed; returns how many had passed, 0 for a tick in time."""
        self._number += 1
        late = self.clock.now() - self.due
        passed = 0 if late <= 0 else int(late / self.period) + 1
        self._number += passed
        return passed
