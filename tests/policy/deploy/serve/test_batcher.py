"""Calls that wait are computed together; one that fails or is too late harms no other."""

import threading
import time

import numpy as np
import pytest

from isd_policy.backend import Call
from isd_policy.deploy.serve.batcher import DynamicBatcher, Job, best_batch


class Recording:
    """A policy that waits at a gate, notes the size of each batch, and fails on a mark."""

    def __init__(self, policy):
        self.policy, self.schema, self.horizons = policy, policy.schema, policy.horizons
        self.batches, self.gate, self.entered = [], threading.Event(), threading.Event()
        self.seconds = None

    def preprocess(self, calls):
        return self.policy.preprocess(calls)

    def infer(self, inputs):
        self.entered.set()
        if self.seconds is not None:
            time.sleep(self.seconds(len(inputs.noise)))  # the real answer would add its own time to what is measured
            return None
        self.gate.wait(10)
        self.batches.append(len(inputs.noise))
        if (inputs.obs["object"][:, -1, 0] == 13).any():
            raise ValueError("thirteen")
        return self.policy.infer(inputs)


@pytest.fixture
def recording(policy):
    return Recording(policy)


@pytest.fixture
def batcher(recording):
    batcher = DynamicBatcher(recording, batch=4)
    yield batcher
    recording.gate.set()
    batcher.close()


class Answers:
    """Collects answers until `count` are there."""

    def __init__(self, policy, batcher):
        self.policy, self.batcher, self.got, self.arrived = policy, batcher, {}, threading.Condition()

    def ask(self, name, row, seconds=10.0):
        def answer(actions, error):
            with self.arrived:
                self.got[name] = actions if error is None else error
                self.arrived.notify_all()

        row = self.policy.schema.row(row)
        self.batcher.submit(Job(Call([row] * 2, (0, 1)), time.monotonic() + seconds, answer))

    def wait(self, count):
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= count, timeout=10)
        return self.got


@pytest.fixture
def answers(policy, batcher):
    return Answers(policy, batcher)


def test_what_waits_is_computed_together(recording, answers, observations):
    rows = observations(7)
    answers.ask(0, rows[0])
    assert recording.entered.wait(5)
    for number in range(1, 7):
        answers.ask(number, rows[number])
    recording.gate.set()
    got = answers.wait(7)
    assert recording.batches == [1, 4, 2]
    for number, row in enumerate(rows):
        row = recording.schema.row(row)
        alone = recording.policy.infer(recording.policy.preprocess([Call([row] * 2, (0, 1))]))[0]
        np.testing.assert_allclose(got[number], alone, atol=1e-5)


def test_one_that_fails_harms_no_other(recording, answers, observations):
    rows = observations(4)
    rows[2]["object"][0] = 13
    answers.ask(0, rows[0])
    assert recording.entered.wait(5)
    for number in (1, 2, 3):
        answers.ask(number, rows[number])
    recording.gate.set()
    got = answers.wait(4)
    assert [isinstance(got[number], np.ndarray) for number in range(4)] == [True, True, False, True]
    assert str(got[2]) == "thirteen"


def test_one_that_is_too_late_is_not_computed(recording, answers, observations):
    (row,) = observations(1)
    answers.ask(0, row)
    assert recording.entered.wait(5)
    answers.ask(1, row, seconds=0.01)
    time.sleep(0.02)
    recording.gate.set()
    got = answers.wait(2)
    assert isinstance(got[1], TimeoutError)
    assert recording.batches == [1]


def test_a_hanging_computation_is_seen(recording, batcher, answers, observations):
    assert batcher.busy_seconds == 0
    answers.ask(0, observations(1)[0])
    assert recording.entered.wait(5)
    time.sleep(0.02)
    assert batcher.busy_seconds >= 0.02


@pytest.mark.parametrize(
    "seconds, batch", [(lambda n: 0.01, 32), (lambda n: 0.004 * n, 1), (lambda n: 0.01 if n <= 4 else 0.1, 4)]
)
def test_batches_are_as_large_as_they_pay(recording, seconds, batch):
    recording.seconds = seconds
    assert best_batch(recording)[0] == batch
