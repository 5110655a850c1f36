"""The control loop: one observation and one action at every tick of a clock, the policy in a thread beside it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from types import TracebackType

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.history import ObservationHistory
from isd_policy.backend import Row
from isd_policy.deploy.loop.clock import Clock, MonotonicClock, Schedule
from isd_policy.deploy.loop.guards import Guards
from isd_policy.deploy.loop.inference import Inference, InferenceThread
from isd_policy.deploy.loop.report import Report
from isd_policy.deploy.loop.robot import ChunkPolicy, Robot
from isd_policy.deploy.loop.scheduler import ChunkScheduler
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.deploy.loop.warmup import warm_up
from isd_policy.deploy.loop.watchdog import Watchdog

STOP_ATTEMPTS = 3
"""How often a robot whose `stop` raises is told to stop, at each occasion."""
IN_A_ROW = 3
"""Rejected chunks in a row at which the robot is stopped; before the first chunk, calls that failed as well."""


class Runner:
    """Drives `robot` by `policy`, which is a policy of any backend or a client of a policy server.

    At every tick the robot gets an action within the guards, or `stop()`. The action comes from the newest chunk; where
    that has run out, from its reserve; then from `guards.hold`; and after `settings.hold` seconds of that the robot is
    stopped. It is stopped at once where it cannot be read or written, where the policy's chunks are unusable again and
    again, and where the loop itself stands still. A stopped runner stays stopped; `report.fault` says why. The last
    thing that a stopped robot is told is `stop()`: it is told so again after a `write` that was under way, and at the
    end.
    """

    def __init__(
        self,
        robot: Robot,
        policy: ChunkPolicy,
        guards: Guards,
        settings: LoopSettings | None = None,
        clock: Clock | None = None,
        inference: Inference | None = None,
    ) -> None:
        self.robot, self.policy, self.guards = robot, policy, guards
        self.settings = LoopSettings() if settings is None else settings
        self.clock: Clock = MonotonicClock() if clock is None else clock
        self.inference: Inference = InferenceThread(policy, self.clock) if inference is None else inference
        self.report = Report(self.settings.period, self.clock.now())
        self.history: ObservationHistory[Row] = ObservationHistory(policy.horizons.observation)
        self.scheduler = ChunkScheduler(
            self.inference,
            self.history,
            policy.horizons.execution,
            guards,
            self.settings,
            self.clock,
            self.report,
            policy.longest_prefix,
        )
        self._warm = not self.settings.warm_up
        self._reset_wanted = False
        self._stopping = threading.Lock()
        self._last: np.ndarray | None = None
        self._written: float | None = None
        self._held = 0
        self.watchdog: Watchdog | None = None
        if self.settings.watchdog is not None:
            self.watchdog = Watchdog(self.clock, self.settings.watchdog, self._stop)
            self.watchdog.start()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the robot, once more where it was stopped before, and ends the threads.

        Raises `RuntimeError` when the robot cannot be stopped.
        """
        if self.watchdog is not None:
            self.watchdog.close()
        stopped = self._tell_to_stop()
        self.inference.close()
        if not stopped:
            raise RuntimeError(f"The robot could not be stopped: {self.report.events[-1][1]}.")

    # -- epochs -------------------------------------------------------------------------------------------------------

    def run(self, ticks: int, until: Callable[[], bool] = lambda: False) -> Report:
        """Drives the robot for `ticks` ticks of a new epoch, or until `until()` holds at the beginning of a tick.

        The policy is warmed up and asked for the first chunk before the clock is armed. Raises what the policy raises
        where the robot's first observation is not what it needs, and `RuntimeError` after a fault.
        """
        if self.report.fault is not None:
            raise RuntimeError(f"The runner was stopped: {self.report.fault}. Make a new one.")
        self._begin_epoch()
        self._last = self._written = None
        self._prepare()
        if self.report.fault is None:
            self._run_armed(ticks, until)
        return self.report

    def reset(self) -> None:
        """Begins a new epoch at the next tick, from any thread: what was computed before it is discarded."""
        self._reset_wanted = True  # a flag, not the deed: history and buffer belong to the loop's thread alone

    def _begin_epoch(self) -> None:
        self._reset_wanted = False
        self._held = 0
        self.scheduler.reset()

    def _prepare(self) -> None:
        """Observes, warms the policy up, and waits for the first chunk."""
        self._look()
        if not self._warm:
            self.report.warm_up, latencies = warm_up(
                self.inference, self.scheduler.request(), self.clock, self.settings.warm_up
            )
            self.scheduler.time(latencies)
            self._warm = True
            self._look()
        limit = self.clock.now() + self.settings.first_chunk
        while not self.scheduler.buffer.ready and self.report.fault is None:
            self.scheduler.ask()
            self.scheduler.wait(limit)
            if self.scheduler.bad >= IN_A_ROW:
                self._stop(self.scheduler.reason())
            elif self.clock.now() >= limit and not self.scheduler.buffer.ready:
                self._stop(
                    f"there was no first chunk within {self.settings.first_chunk:g} s: {self.scheduler.reason()}"
                )

    def _look(self) -> None:
        stamped = self.robot.read()
        if not math.isfinite(stamped.time):
            raise InputError(
                f"The robot's observation has the time {stamped.time}; expected seconds of the loop's clock."
            )
        self.history.push(self.policy.row(stamped.obs), stamped.time)

    def _run_armed(self, ticks: int, until: Callable[[], bool]) -> None:
        report, windows = self.report, self.report.windows
        schedule, armed, last = Schedule(self.clock, self.settings.period), self.clock.now(), report.ticks + ticks
        try:
            while report.ticks < last and report.fault is None and not until():
                if self.watchdog is not None:
                    self.watchdog.feed()
                if schedule.stepped_back():
                    self._clock_went_back()
                self.clock.sleep_until(schedule.due)
                began = self.clock.now()
                windows["late"].append(max(0.0, began - schedule.due))
                self._tick(schedule.due)
                windows["tick"].append(self.clock.now() - began)
                report.counts["ticks"] += 1
                if passed := schedule.advance():
                    report.counts["misses"] += 1
                    report.counts["skipped"] += passed
        except BaseException as error:  # Ctrl-C, or what `until` raises: nobody writes from here on
            self._stop(f"the control loop was left by {type(error).__name__}: {error}")
            raise
        finally:
            report.armed_seconds += self.clock.now() - armed
            if self.watchdog is not None:
                self.watchdog.sleep()

    def _clock_went_back(self) -> None:
        self.history.clear()
        self.report.counts["clock_steps"] += 1
        self.report.event(self.clock.now(), "the clock went back")

    # -- one tick -----------------------------------------------------------------------------------------------------

    def _tick(self, due: float) -> None:
        """One observation; one action or stop."""
        if self._reset_wanted:
            self._begin_epoch()
        began = self.clock.now()
        try:
            self._sense()
        except Exception as error:  # a robot that cannot be read is stopped, whatever it raises
            self._stop(f"the robot could not be read: {type(error).__name__}: {error}")
            return
        sensed = self.clock.now()
        self.scheduler.receive()
        self.scheduler.ask()
        action = self._decide(due + self.settings.patience * self.settings.period)
        if action is None or self._stopped():
            return
        decided = self.clock.now()
        try:
            self.robot.write(action)
        except Exception as error:  # as above
            self._stop(f"the robot took no action: {type(error).__name__}: {error}")
            return
        if self._stopped():
            # The watchdog stopped the robot while `write` blocked, and the action may have reached it after that.
            self._tell_to_stop()
            return
        self._last = action
        self._note(began, sensed, decided, self.clock.now())

    def _note(self, began: float, sensed: float, decided: float, written: float) -> None:
        windows = self.report.windows
        windows["observe"].append(sensed - began)
        windows["robot"].append(written - decided + sensed - began)
        if self._written is not None:
            windows["jitter"].append(abs(written - self._written - self.settings.period))
        self._written = written

    def _sense(self) -> None:
        """Reads the robot into the history; an observation that cannot be used is left out."""
        stamped = self.robot.read()
        ahead = stamped.time - self.clock.now()
        try:
            row = self.policy.row(stamped.obs)
        except Exception as error:  # what a policy raises for a wrong observation is its own
            self._refuse(str(error))
            return
        if not math.isfinite(ahead):  # no comparison with a NaN holds: it would never be old
            self._refuse(f"its time is {stamped.time}")
        elif ahead > self.settings.stale:
            self._refuse(f"its time is {ahead:.2f} s ahead of the loop's clock")
        elif not self.history.push(row, stamped.time):
            self._refuse(f"its time went back by {self.history.time - stamped.time:.3f} s")

    def _refuse(self, reason: str) -> None:
        self.report.counts["refused"] += 1
        self.report.event(self.clock.now(), f"an observation was refused: {reason}")

    def _decide(self, until: float) -> np.ndarray | None:
        """The action [Da] for this tick within the guards, or None after the robot was stopped."""
        action = self.scheduler.next(until)
        if self.scheduler.rejected >= IN_A_ROW:
            self._stop(self.scheduler.reason())
            return None
        if action is None or not len(self.history):
            return self._hold()
        self._held = 0
        action, changes = self.guards(action, self._last, self.history.newest())
        for change in changes:
            self.report.counts[change] += 1
        return action

    def _hold(self) -> np.ndarray | None:
        self._held += 1
        self.report.counts["starved"] += 1
        if self._last is None or self._held * self.settings.period > self.settings.hold:
            age = self.clock.now() - self.history.time
            reason = (
                f"the newest observation is {age:.2f} s old" if age > self.settings.stale else self.scheduler.reason()
            )
            self._stop(f"there was no action for {self._held} ticks: {reason}")
            return None
        return self.guards.hold(self._last)

    def _stop(self, reason: str) -> None:
        """Stops the robot; the first reason is the fault. Also called by the watchdog's thread."""
        # The lock decides between two threads whose reason it is. It is not held while the robot is told: a `stop` that
        # hangs in the watchdog's thread must not keep the loop from telling the robot as well.
        with self._stopping:
            first = self.report.fault is None
            if first:
                self.report.fault = reason
        if first:
            self.report.event(self.clock.now(), f"stopped: {reason}")
        self._tell_to_stop()

    def _stopped(self) -> bool:
        return self.report.fault is not None

    def _tell_to_stop(self) -> bool:
        """Calls the robot's `stop`, again where it raises; whether one call returned."""
        for _ in range(STOP_ATTEMPTS):
            try:
                self.robot.stop()
            except Exception as error:  # there is nobody left to stop it; the report has to tell
                self.report.event(self.clock.now(), f"the robot's stop failed: {type(error).__name__}: {error}")
            else:
                return True
        return False
