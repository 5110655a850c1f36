"""The policy in its own thread, or in simulated time: the newest request wins."""

import threading
import time

import numpy as np
import pytest

from isd_policy.backend import Call
from isd_policy.deploy.loop.clock import MonotonicClock, VirtualClock
from isd_policy.deploy.loop.inference import DelayedInference, InferenceThread, Request


def request(number, clock, epoch=0):
    return Request(number, epoch, 0, Call([{"k": np.array(number)}], (0,)), clock.now())


class Gate:
    """A policy that waits for its gate and answers with the number of the request."""

    def __init__(self):
        self.open, self.began, self.seen = threading.Event(), threading.Event(), []

    def preprocess(self, calls):
        return int(calls[0].history[0]["k"])

    def infer(self, number):
        self.began.set()
        self.open.wait(10)
        self.seen.append(number)
        if number == 13:
            raise ValueError("thirteen")
        return np.full((1, 3, 2), float(number))


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def worker(gate):
    worker = InferenceThread(gate, MonotonicClock())
    yield worker
    gate.open.set()
    worker.close()


def test_worker_answers_in_its_own_thread_and_times_the_parts(worker, gate):
    worker.submit(request(1, worker.clock))
    assert gate.began.wait(5)
    assert worker.take() is None
    time.sleep(0.02)
    gate.open.set()
    reply = worker.wait(worker.clock.now() + 5)
    assert reply.actions[0, 0] == 1.0
    assert reply.infer >= 0.02
    assert reply.preprocess >= 0
    assert reply.done - reply.begun == pytest.approx(reply.preprocess + reply.infer)


def test_newest_request_wins_over_the_one_that_waits(worker, gate):
    worker.submit(request(1, worker.clock))
    assert gate.began.wait(5)
    assert not worker.submit(request(2, worker.clock))
    assert worker.submit(request(3, worker.clock))
    gate.open.set()
    replies = [worker.wait(worker.clock.now() + 5).request.number for _ in range(2)]
    assert replies == [1, 3]
    assert gate.seen == [1, 3]


def test_submitting_never_waits_for_the_policy(worker, gate):
    began = time.monotonic()
    for k in range(100):
        worker.submit(request(k, worker.clock))
    assert time.monotonic() - began < 1.0


def test_exception_becomes_a_reply_and_the_thread_lives_on(worker, gate):
    gate.open.set()
    worker.submit(request(13, worker.clock))
    reply = worker.wait(worker.clock.now() + 5)
    assert (reply.actions, reply.error) == (None, "ValueError: thirteen")
    worker.submit(request(14, worker.clock))
    assert worker.wait(worker.clock.now() + 5).actions is not None


def test_waiting_ends_in_time(worker):
    began = time.monotonic()
    assert worker.wait(worker.clock.now() + 0.05) is None
    assert 0.04 < time.monotonic() - began < 2.0


def test_delayed_reply_is_there_when_its_time_has_come(gate):
    gate.open.set()
    clock = VirtualClock()
    delayed = DelayedInference(gate, clock, lambda request: 0.1)
    delayed.submit(request(1, clock))
    assert delayed.take() is None
    assert delayed.running.number == 1
    clock.advance(0.1)
    assert delayed.take().infer == 0.1
    assert delayed.running is None


def test_delayed_wait_lets_only_the_needed_time_pass(gate):
    gate.open.set()
    clock = VirtualClock()
    delayed = DelayedInference(gate, clock, lambda request: 0.1)
    delayed.submit(request(1, clock))
    assert delayed.wait(0.05) is None
    assert clock.now() == pytest.approx(0.05)
    assert delayed.wait(5.0) is not None
    assert clock.now() == pytest.approx(0.1)
