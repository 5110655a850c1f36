"""Monotonic time: the system's, and one that passes only when somebody waits."""

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
