import numpy as np
import pytest

from isd_policy.control import REJECTIONS, ControlLoop, MonotonicClock

PERIOD = 0.05


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def sleep_until(self, moment):
        self.time = max(self.time, moment)


class FakeRobot:
    low, high = np.full(2, -1.0), np.full(2, 1.0)

    def __init__(self, clock, length=1000, reset_seconds=3.0, write_seconds=0.0):
        self.clock, self.length = clock, length
        self.reset_seconds, self.write_seconds = reset_seconds, write_seconds
        self.written, self.times, self.resets = [], [], 0

    def reset(self):
        self.clock.time += self.reset_seconds
        self.resets += 1
        self.steps = 0

    def read(self):
        return {"step": np.array([len(self.written)])}

    def write(self, action):
        self.times.append(self.clock.time)
        self.clock.time += self.write_seconds
        self.written.append(np.array(action))
        self.steps += 1

    def hold(self):
        return np.full(2, 0.125)

    def ended(self):
        return self.steps >= self.length


class FakePolicy:
    """Chunks of four actions; `seconds[i]` and `chunks[i]` say how long call i takes and what it gives."""

    def __init__(self, clock, seconds=(), chunks=()):
        self.clock, self.seconds, self.chunks = clock, list(seconds), list(chunks)
        self.seen, self.seeds = [], []

    def reset(self, seed):
        self.seeds.append(seed)

    def observe(self, obs):
        self.seen.append(int(obs["step"][0]))

    def act(self, obs):
        self.observe(obs)
        self.clock.time += self.seconds.pop(0) if self.seconds else 0.0
        return self.chunks.pop(0) if self.chunks else np.full((4, 2), 0.5)


@pytest.fixture
def clock():
    return FakeClock()


def loop(clock, robot=None, policy=None):
    return ControlLoop(robot or FakeRobot(clock), policy or FakePolicy(clock), PERIOD, clock)


def test_ticks_are_due_at_multiples_of_the_period_whatever_they_take(clock):
    robot = FakeRobot(clock, write_seconds=0.02)
    loop(clock, robot, FakePolicy(clock, [0.01, 0.02, 0.0])).run(12)
    starts = np.round(np.diff(robot.times) / PERIOD, 2)
    assert robot.times[-1] - robot.times[0] == pytest.approx(11 * PERIOD, abs=0.011)
    assert starts.min() > 0.5


def test_every_tick_is_observed(clock):
    policy = FakePolicy(clock)
    loop(clock, policy=policy).run(11)
    assert policy.seen == list(range(11))


def test_policy_is_asked_when_its_chunk_runs_out(clock):
    report = loop(clock).run(10)
    assert len(report.policy) == 3


def test_no_misses_within_the_deadline(clock):
    report = loop(clock, policy=FakePolicy(clock, [0.049] * 3)).run(12)
    assert (report.misses, report.skipped, report.ticks) == (0, 0, 12)


def test_a_late_tick_is_a_miss_and_the_deadlines_it_overran_are_skipped(clock):
    robot = FakeRobot(clock)
    report = loop(clock, robot, FakePolicy(clock, [0.12])).run(4)
    assert (report.misses, report.skipped, report.ticks) == (1, 2, 4)
    np.testing.assert_allclose(np.diff(robot.times), [0.03, PERIOD, PERIOD], atol=1e-9)


def test_resets_are_disarmed_and_counted_apart(clock):
    report = loop(clock, FakeRobot(clock, length=5, reset_seconds=3.0)).run(12)
    assert (report.resets, report.episodes, report.misses) == (2, 3, 0)
    assert report.reset_seconds == pytest.approx(9.0)
    assert report.armed_seconds < 12 * PERIOD + 1e-9


def test_each_episode_has_its_own_noise_and_an_empty_chunk(clock):
    policy = FakePolicy(clock)
    report = loop(clock, FakeRobot(clock, length=5), policy).run(10)
    assert policy.seeds == [0, 1]
    assert len(report.policy) == 4


def test_actions_beyond_the_range_are_clipped_and_counted(clock):
    robot = FakeRobot(clock)
    wild = np.array([[0.0, 3.0], [0.1, 0.2], [-2.0, 0.0], [0.0, 0.0]])
    report = loop(clock, robot, FakePolicy(clock, chunks=[wild])).run(4)
    assert report.clipped == 2
    np.testing.assert_array_equal(robot.written, np.clip(wild, -1, 1))


def test_a_chunk_with_nan_is_rejected_and_the_robot_holds(clock):
    robot = FakeRobot(clock)
    bad = np.full((4, 2), 0.5)
    bad[3, 1] = np.nan
    report = loop(clock, robot, FakePolicy(clock, chunks=[bad])).run(3)
    assert (report.rejected, report.fault) == (1, None)
    np.testing.assert_array_equal(robot.written, [[0.125, 0.125], [0.5, 0.5], [0.5, 0.5]])


def test_rejected_chunks_in_a_row_end_the_loop(clock):
    bad = np.full((4, 2), np.nan)
    report = loop(clock, policy=FakePolicy(clock, chunks=[bad] * REJECTIONS)).run(50)
    assert report.ticks == REJECTIONS
    assert "not finite" in report.fault


def test_rejected_chunks_apart_do_not_end_the_loop(clock):
    good, bad = np.zeros((1, 2)), np.full((1, 2), np.nan)
    report = loop(clock, policy=FakePolicy(clock, chunks=[bad, bad, good, bad, bad, good])).run(6)
    assert (report.rejected, report.fault) == (4, None)


def test_warm_up_is_not_in_the_statistics(clock):
    run = loop(clock, policy=FakePolicy(clock, [9.0] * 20))
    run.warm_up(calls=20)
    report = run.run(8)
    assert max(report.policy) == 0.0
    assert report.episodes == 1


def test_report_holds_percentiles_in_milliseconds(clock):
    content = loop(clock, policy=FakePolicy(clock, [0.01, 0.02])).run(8).to_dict()
    assert content["latency_ms"]["max"] == pytest.approx(20.0)
    assert content["policy_calls_ms"] == pytest.approx([10.0, 20.0])
    assert content["deadline_misses"] == 0


def test_the_system_s_clock_sleeps_until_the_deadline():
    clock = MonotonicClock()
    moment = clock.now() + 0.01
    clock.sleep_until(moment)
    assert 0 <= clock.now() - moment < 0.5
