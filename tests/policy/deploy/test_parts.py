"""ObservationHistory, schedule, watchdog, settings and the inference thread, each alone."""

import threading
import time

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_policy.acting import Call
from isd_policy.deploy.clock import MonotonicClock, VirtualClock
from isd_policy.deploy.fake import FakeRobot
from isd_policy.deploy.inference import DelayedInference, InferenceThread, Request
from isd_policy.deploy.ring import ObservationHistory
from isd_policy.deploy.schedule import Schedule
from isd_policy.deploy.settings import LoopSettings
from isd_policy.deploy.watchdog import Watchdog
from isd_policy.observations import ObservationSchema

# -- history ---------------------------------------------------------------------------------------------------


def test_ring_holds_the_last_observations_oldest_first():
    history = ObservationHistory(2)
    for k in range(4):
        assert history.push({"k": k}, float(k))
    assert [row["k"] for row in history.rows()] == [2, 3]
    assert (history.newest()["k"], history.time) == (3, 3.0)


def test_first_observation_fills_the_ring():
    history = ObservationHistory(3)
    history.push({"k": 5}, 0.0)
    assert [row["k"] for row in history.rows()] == [5, 5, 5]


def test_older_observation_is_refused_and_an_equal_time_is_not():
    history = ObservationHistory(2)
    history.push({"k": 0}, 1.0)
    assert history.push({"k": 1}, 1.0)
    assert not history.push({"k": 2}, 0.9)
    assert history.newest()["k"] == 1


def test_cleared_ring_takes_any_time():
    history = ObservationHistory(2)
    history.push({"k": 0}, 10.0)
    history.clear()
    assert len(history) == 0
    assert history.push({"k": 1}, 5.0)


# -- schedule ---------------------------------------------------------------------------------------------------------


def test_deadlines_do_not_drift():
    clock = VirtualClock()
    schedule = Schedule(clock, 0.05)
    for k in range(1000):
        clock.sleep_until(schedule.due)
        assert clock.now() == pytest.approx(0.05 * k, abs=1e-9)
        clock.advance(0.02)
        assert schedule.advance() == 0


@pytest.mark.parametrize("seconds, passed", [(0.0, 0), (0.05, 0), (0.051, 1), (0.149, 2), (1.01, 20)])
def test_deadlines_that_passed_are_counted(seconds, passed):
    clock = VirtualClock()
    schedule = Schedule(clock, 0.05)
    clock.advance(seconds)
    assert schedule.advance() == passed
    assert 0 <= schedule.due - clock.now() <= 0.05 + 1e-9


def test_clock_that_went_back_sets_the_deadlines_anew():
    clock = VirtualClock(50.0)
    schedule = Schedule(clock, 0.05)
    assert not schedule.stepped_back()
    clock.advance(-20.0)
    assert schedule.stepped_back()
    assert schedule.due == clock.now()
    assert not schedule.stepped_back()


# -- clocks and watchdog ----------------------------------------------------------------------------------------------


def test_the_system_s_clock_sleeps_until_the_deadline():
    clock = MonotonicClock()
    moment = clock.now() + 0.01
    clock.sleep_until(moment)
    assert 0 <= clock.now() - moment < 0.5


def test_watchdog_bites_once():
    clock, bites = VirtualClock(), []
    dog = Watchdog(clock, 0.2, bites.append)
    dog.feed()
    clock.advance(0.19)
    dog.check()
    assert not bites
    clock.advance(0.02)
    dog.check()
    dog.check()
    assert len(bites) == 1
    assert "0.21 s" in bites[0]


def test_watchdog_that_sleeps_does_not_bite():
    clock, bites = VirtualClock(), []
    dog = Watchdog(clock, 0.2, bites.append)
    dog.feed()
    dog.sleep()
    clock.advance(10.0)
    dog.check()
    assert not bites


# -- inference --------------------------------------------------------------------------------------------------------


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


# -- settings and the fake robot --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field, value",
    [
        ("mode", "fast"),
        ("rate", 0),
        ("hold", -1),
        ("stale", float("inf")),
        ("patience", 1.0),
        ("blend", -1),
        ("lead", -1),
    ],
)
def test_settings_out_of_range_are_an_input_error(field, value):
    with pytest.raises(InputError, match=field):
        LoopSettings(**{field: value})


def test_fake_robot_observes_the_schema():
    schema = ObservationSchema({"object": (3,), "agentview_image": (4, 5, 3)})
    robot = FakeRobot(schema)
    obs = robot.read().obs
    assert schema.row(obs)["agentview_image"].dtype == np.uint8
    robot.write(np.ones(2))
    robot.stop()
    assert (len(robot.written), robot.stops) == (1, 1)
