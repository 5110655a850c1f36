"""A control loop with absolute deadlines: one observation and one action at every tick of a clock.

Tick k is due at arm + k * period, whatever the ticks before it took, so the loop does not drift. The policy is called
in the loop when its chunk runs out; resets happen with the loop disarmed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from isd_policy.latency import percentiles

REJECTIONS = 3
"""Chunks in a row that may hold a NaN before the loop stops."""


class Clock(Protocol):
    """Monotonic time in seconds."""

    def now(self) -> float: ...

    def sleep_until(self, moment: float) -> None: ...


class MonotonicClock:
    """The system's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, moment: float) -> None:
        if (left := moment - self.now()) > 0:
            time.sleep(left)


class Robot(Protocol):
    """What the loop drives."""

    low: np.ndarray
    """[Da] the smallest action that the robot takes."""
    high: np.ndarray
    """[Da] the largest one."""

    def reset(self) -> None:
        """Brings the robot to the start of an episode. May take long."""

    def read(self) -> Mapping[str, np.ndarray]:
        """The present observation, key -> [d]."""

    def write(self, action: np.ndarray) -> None:
        """Applies an action [Da] until the next one."""

    def hold(self) -> np.ndarray:
        """The action [Da] that keeps the robot where it is."""

    def ended(self) -> bool:
        """Whether the episode is over."""


class Actor(Protocol):
    """What decides: `isd_policy.Policy` is one."""

    def reset(self, seed: int) -> None: ...

    def observe(self, obs: Mapping[str, np.ndarray]) -> None: ...

    def act(self, obs: Mapping[str, np.ndarray]) -> np.ndarray: ...


@dataclass
class LoopReport:
    """What happened. Lists are seconds; `late` is how long after its deadline each tick began."""

    period: float
    ticks: int = 0
    misses: int = 0
    skipped: int = 0
    episodes: int = 0
    resets: int = 0
    clipped: int = 0
    rejected: int = 0
    fault: str | None = None
    armed_seconds: float = 0.0
    reset_seconds: float = 0.0
    policy: list[float] = field(default_factory=list)
    robot: list[float] = field(default_factory=list)
    tick: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: counts, percentiles in milliseconds, and every policy call for a histogram."""
        return {
            "rate": 1 / self.period,
            "ticks": self.ticks,
            "deadline_misses": self.misses,
            "skipped_ticks": self.skipped,
            "episodes": self.episodes,
            "resets": self.resets,
            "clipped_actions": self.clipped,
            "rejected_chunks": self.rejected,
            "fault": self.fault,
            "armed_seconds": self.armed_seconds,
            "reset_seconds": self.reset_seconds,
            "latency_ms": percentiles(self.policy),
            "robot_ms": percentiles(self.robot),
            "tick_ms": percentiles(self.tick),
            "late_ms": percentiles(self.late),
            "policy_calls_ms": [1e3 * seconds for seconds in self.policy],
        }


class ControlLoop:
    """Drives `robot` by `actor` for a number of ticks of `period` seconds.

    A tick that ends after the next one is due is a miss; the deadlines that passed meanwhile are skipped, not made up
    for. A chunk with a number that is not finite is rejected and the robot holds; actions beyond the robot's range are
    clipped; both are counted. `REJECTIONS` rejected chunks in a row end the loop (`LoopReport.fault`).
    """

    def __init__(self, robot: Robot, actor: Actor, period: float, clock: Clock | None = None, seed: int = 0) -> None:
        self.robot, self.actor, self.period, self.seed = robot, actor, period, seed
        self.clock = MonotonicClock() if clock is None else clock
        self.report = LoopReport(period)
        self._chunk: deque[np.ndarray] = deque()
        self._rejected_in_a_row = 0

    def warm_up(self, calls: int = 20, steps: int = 5) -> None:
        """Calls the policy and the robot before the clock is armed, so that one-time work is done."""
        self.robot.reset()
        self.actor.reset(self.seed)
        obs = self.robot.read()
        for _ in range(calls):
            self.actor.act(obs)
        for _ in range(steps):
            self.robot.write(self.robot.hold())

    def run(self, ticks: int) -> LoopReport:
        """Runs `ticks` ticks over as many episodes as they take."""
        while self.report.ticks < ticks and self.report.fault is None:
            self._begin_episode()
            self._run_armed(ticks)
        return self.report

    def _begin_episode(self) -> None:
        began = self.clock.now()
        self.robot.reset()
        self.actor.reset(self.seed + self.report.episodes)
        self._chunk.clear()
        self.report.reset_seconds += self.clock.now() - began
        self.report.resets += self.report.episodes > 0
        self.report.episodes += 1

    def _run_armed(self, ticks: int) -> None:
        report, armed, number = self.report, self.clock.now(), 0
        while report.ticks < ticks and report.fault is None and not self.robot.ended():
            due = armed + number * self.period
            self.clock.sleep_until(due)
            began = self.clock.now()
            self._tick()
            ended = self.clock.now()
            report.ticks += 1
            report.late.append(max(0.0, began - due))
            report.tick.append(ended - began)
            number += 1
            if ended > armed + number * self.period:
                report.misses += 1
                passed = int((ended - armed) / self.period) + 1 - number
                report.skipped += passed
                number += passed
        report.armed_seconds += self.clock.now() - armed

    def _tick(self) -> None:
        """One observation, one action."""
        began = self.clock.now()
        obs = self.robot.read()
        seen = self.clock.now()
        if self._chunk:
            self.actor.observe(obs)
        else:
            chunk = self.actor.act(obs)
            self.report.policy.append(self.clock.now() - seen)
            self._chunk.extend(self._guarded(chunk))
        action = self._chunk.popleft() if self._chunk else self.robot.hold()
        decided = self.clock.now()
        self.robot.write(action)
        self.report.robot.append(self.clock.now() - decided + seen - began)

    def _guarded(self, chunk: np.ndarray) -> np.ndarray:
        """The chunk [Ta, Da] within the robot's range, or an empty one when it is not finite."""
        if not np.isfinite(chunk).all():
            self.report.rejected += 1
            self._rejected_in_a_row += 1
            if self._rejected_in_a_row >= REJECTIONS:
                self.report.fault = f"the policy's last {REJECTIONS} chunks were not finite"
            return chunk[:0]
        self._rejected_in_a_row = 0
        within = np.clip(chunk, self.robot.low, self.robot.high)
        self.report.clipped += int((within != chunk).any(axis=1).sum())
        return within
