"""A small robot and a policy whose actions say where they come from, in time that passes when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isd_core.training import checkpoint
from isd_policy.deploy.bundle import __main__ as bundle
from isd_policy.deploy.loop.clock import VirtualClock
from isd_policy.deploy.loop.guards import Guards
from isd_policy.deploy.loop.inference import DelayedInference
from isd_policy.deploy.loop.robot import Stamped
from isd_policy.deploy.loop.runner import Runner
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.horizons import Horizons

PERIOD = 0.05
STILL = np.array([0.0, np.nan])


class Script:
    """A robot of two numbers. Its observation is the number of actions that it was given; faults are set by tests."""

    def __init__(self, clock):
        self.clock = clock
        self.written, self.times, self.stops, self.reads = [], [], 0, 0
        self.read_seconds = self.write_seconds = 0.0
        self.at_read = lambda: None

    def read(self):
        self.reads += 1
        self.at_read()
        self.clock.advance(self.read_seconds)
        return Stamped({"step": np.array([float(len(self.written))])}, self.clock.now())

    def write(self, action):
        self.times.append(self.clock.now())
        self.clock.advance(self.write_seconds)
        self.written.append(np.array(action))

    def stop(self):
        self.stops += 1


class Counting:
    """A policy whose action for step k is k / 1000, as told from its newest observation, of 15 steps."""

    horizons = Horizons(observation=2, prediction=16, execution=8)
    longest_prefix = None

    def __init__(self):
        self.seen, self.streams, self.prefixes, self.change = [], [], [], lambda chunk: chunk

    def row(self, obs):
        return {"step": np.array(obs["step"], np.float32)}

    def preprocess(self, calls):
        (call,) = calls
        self.streams.append(call.stream)
        self.prefixes.append(call.prefix)
        return np.concatenate([row["step"] for row in call.history])

    def infer(self, history):
        self.seen.append(history)
        steps = (history[-1] + np.arange(15)) / 1000
        return self.change(np.stack([steps, 0.5 + steps], axis=1))[None]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(100.0)


@pytest.fixture
def robot(clock) -> Script:
    return Script(clock)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def guards() -> Guards:
    return Guards(low=np.full(2, -1.0), high=np.full(2, 1.0), still=STILL)


@pytest.fixture
def make_runner(clock, robot, counting, guards) -> Callable[..., Runner]:
    """A runner of the fakes in which every call of the policy takes `delay` seconds."""

    def make(delay=0.0, guards=guards, **settings) -> Runner:
        options = {"rate": 1 / PERIOD, "watchdog": None, "warm_up": 0.0} | settings
        seconds = delay if callable(delay) else lambda request: delay
        return Runner(
            robot, counting, guards, LoopSettings(**options), clock, DelayedInference(counting, clock, seconds)
        )

    return make


@pytest.fixture
def run(save_policy, config) -> Path:
    """A run's folder with one checkpoint, as training leaves it."""
    whole = config | {"objective": {"type": "eulerian"}, "data": "gone.hdf5"}
    return save_policy(config=whole, **checkpoint.provenance())


@pytest.fixture
def make_bundle(run, tmp_path) -> Callable[..., Path]:
    """A bundle of that checkpoint, by the command."""

    def make(*words, name="policy.isd") -> Path:
        out = tmp_path / name
        assert bundle.main.run(f"checkpoint={run}", f"out={out}", *words) == 0
        return out

    return make
