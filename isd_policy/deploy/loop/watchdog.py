"""Notices when the control loop itself stands still."""

from __future__ import annotations

import threading
from collections.abc import Callable

from isd_policy.deploy.loop.clock import Clock


class Watchdog:
    """Calls `bite(message)` once when `feed` was not called for `seconds` of the clock, while it is awake."""

    def __init__(self, clock: Clock, seconds: float, bite: Callable[[str], None]) -> None:
        self.clock, self.seconds, self.bite = clock, seconds, bite
        self._fed: float | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def feed(self) -> None:
        """Says that the loop is alive, and wakes the watchdog."""
        self._fed = self.clock.now()

    def sleep(self) -> None:
        """The loop is disarmed: nothing is watched until the next `feed`."""
        self._fed = None

    def check(self) -> None:
        """Looks once."""
        fed = self._fed  # read once: the loop's thread may feed or sleep between two reads
        if fed is not None and (silent := self.clock.now() - fed) > self.seconds:
            self._fed = None  # before the bite, which may take long: one bite a standstill
            self.bite(f"the control loop stood still for {silent:.2f} s")

    def start(self) -> None:
        """Looks from a thread of its own, four times as often as it must."""
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _watch(self) -> None:
        # In real time, whatever the clock is: a clock that stands still must not stop its own guard from looking.
        while not self._ended.wait(self.seconds / 4):
            self.check()
