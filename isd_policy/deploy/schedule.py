"""Absolute deadlines: tick k is due at begin + k * period, whatever the ticks before it took."""

from __future__ import annotations

from isd_policy.deploy.clock import Clock


class Schedule:
    """The deadlines from now on. Those that pass during a tick are skipped, not made up for."""

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
