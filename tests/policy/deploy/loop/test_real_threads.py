"""The loop with real threads and the real clock: a robot that blocks, a policy that hangs, the rate that is kept."""

import threading
import time

import numpy as np

from isd_policy.deploy.loop.clock import MonotonicClock
from isd_policy.deploy.loop.robot import Stamped
from isd_policy.deploy.loop.runner import Runner
from isd_policy.deploy.loop.settings import LoopSettings


class Slow:
    """A robot whose read blocks once."""

    def __init__(self, block_at):
        self.block_at, self.reads, self.released = block_at, 0, threading.Event()
        self.stopped_at, self.blocked_at, self.written = None, None, 0

    def read(self):
        self.reads += 1
        if self.reads == self.block_at:
            self.blocked_at = time.monotonic()
            self.released.wait(5.0)
        return Stamped({"step": np.zeros(1)}, time.monotonic())

    def write(self, action):
        self.written += 1

    def stop(self):
        self.stopped_at = time.monotonic()
        self.released.set()


def test_watchdog_stops_a_robot_whose_loop_stands_still(counting, guards):
    robot = Slow(block_at=6)
    settings = LoopSettings(rate=100, watchdog=0.2, warm_up=0.0)
    with Runner(robot, counting, guards, settings) as runner:
        report = runner.run(100)
    assert "the control loop stood still" in report.fault
    assert 0.1 < robot.stopped_at - robot.blocked_at < 2.0


def test_hanging_call_does_not_keep_the_loop_from_ending(counting, guards):
    hang = threading.Event()
    numbers = iter(range(1000))
    counting.change = lambda chunk: chunk if next(numbers) < 1 else (hang.wait(30), chunk)[1]
    robot = Slow(block_at=0)
    began = time.monotonic()
    with Runner(robot, counting, guards, LoopSettings(rate=100, hold=0.1, warm_up=0.0)) as runner:
        report = runner.run(1000)
    hang.set()
    assert "has been running for" in report.fault
    assert robot.stopped_at is not None
    assert time.monotonic() - began < 10.0


def test_real_thread_and_real_clock_keep_the_rate(counting, guards):
    robot = Slow(block_at=0)
    with Runner(robot, counting, guards, LoopSettings(rate=200), MonotonicClock()) as runner:
        report = runner.run(100)
    assert report.fault is None
    assert robot.written == 100
    assert report.armed_seconds > 0.4
    assert report.counts["calls"] >= 5


class Blocking(Slow):
    """Its third write blocks until it is stopped; it keeps the commands in the order in which they took effect."""

    def __init__(self):
        super().__init__(block_at=0)
        self.commands = []

    def write(self, action):
        if len(self.commands) == 2:
            self.released.wait(5.0)
            time.sleep(0.1)  # the command goes through after the stop
        self.commands.append("write")

    def stop(self):
        self.commands.append("stop")
        self.released.set()


def test_a_write_that_recovers_after_the_watchdog_s_stop_is_followed_by_a_stop(counting, guards):
    robot = Blocking()
    runner = Runner(robot, counting, guards, LoopSettings(rate=100, watchdog=0.1, warm_up=0.0))
    report = runner.run(100)
    assert "the control loop stood still" in report.fault
    assert robot.commands == ["write", "write", "stop", "write", "stop"]
    runner.close()
    assert robot.commands[-2:] == ["stop", "stop"]
