"""The loop without faults: deadlines, history, merging, epochs, statistics."""

import tracemalloc

import numpy as np
import pytest

from isd_policy.deploy.loop.report import WINDOW

PERIOD = 0.05


def steps(robot):
    """The number of the step that each action was computed for, to a ten-thousandth."""
    return [round(1000 * float(action[0]), 1) for action in robot.written]


def test_ticks_are_due_at_multiples_of_the_period_whatever_they_take(make_runner, robot):
    robot.write_seconds = 0.02
    make_runner().run(12)
    np.testing.assert_allclose(np.diff(robot.times), PERIOD, atol=1e-9)


def test_without_latency_every_action_is_the_one_for_its_step(make_runner, robot):
    make_runner().run(40)
    assert steps(robot) == list(range(40))


@pytest.mark.parametrize("delay", [0.01, 0.05, 0.12, 0.2, 0.3])
def test_latency_drops_the_steps_that_passed_and_no_other(make_runner, robot, delay):
    report = make_runner(delay, blend=0).run(60)
    assert steps(robot) == list(range(60))
    assert report.counts["starved"] == 0
    late = [chunk.dropped for chunk in report.chunks if chunk.outcome == "used"][1:]
    assert late
    assert set(late) <= {int(np.ceil(delay / PERIOD)), int(np.ceil(delay / PERIOD)) + 1}


def test_synchronous_loop_holds_while_the_policy_computes(make_runner, robot):
    report = make_runner(0.12, mode="sync", blend=0).run(22)
    held = [k for k, action in enumerate(robot.written) if action[0] == 0 and k]
    assert held == [8, 9, 18, 19]
    assert report.counts["starved"] == 4
    np.testing.assert_array_equal(robot.written[8], [0.0, robot.written[7][1]])  # still, the gripper as it was


def test_synchronous_chunk_is_executed_from_its_first_action(make_runner, robot):
    report = make_runner(0.12, mode="sync", blend=0).run(22)
    assert steps(robot)[10] == 8.0
    assert all(chunk.dropped == 0 for chunk in report.chunks)


def test_a_tick_waits_a_share_of_its_period_for_an_action(make_runner, robot):
    report = make_runner(0.02, mode="sync", patience=0.5).run(20)
    assert report.counts["starved"] == report.counts["misses"] == 0
    assert robot.times[8] - robot.times[7] == pytest.approx(PERIOD + 0.02)


def test_latency_beyond_the_executed_part_uses_the_reserve(make_runner, robot):
    report = make_runner(0.45, blend=0).run(60)
    assert report.counts["reserve"] > 0
    assert steps(robot)[:9] == list(range(9))


def test_latency_beyond_the_whole_chunk_starves_and_says_so(make_runner, robot):
    report = make_runner(0.9, hold=5.0).run(60)
    assert report.counts["starved"] > 0
    assert report.fault is None
    assert len(robot.written) == 60


def test_every_tick_is_observed_also_while_a_chunk_is_being_executed(make_runner, robot, counting):
    make_runner(lead=1).run(30)
    assert robot.reads == 31  # one before the clock is armed
    assert [tuple(seen) for seen in counting.seen[1:]] == [(k - 1, k) for k in (7, 14, 21, 28)]


def test_first_observation_fills_the_history(make_runner, counting):
    make_runner().run(2)
    assert tuple(counting.seen[0]) == (0.0, 0.0)


def test_lead_follows_the_measured_latency(make_runner):
    runner = make_runner(0.17)
    runner.run(30)
    assert runner.scheduler.lead == 4


def test_noise_comes_from_seed_epoch_and_call(make_runner, counting):
    runner = make_runner(seed=7)
    runner.run(9)
    runner.run(9)
    assert counting.streams == [(7, 0, 0), (7, 0, 1), (7, 1, 0), (7, 1, 1)]


def test_a_late_tick_is_a_miss_and_the_deadlines_it_overran_are_skipped(make_runner, robot):
    slow = iter([0.0, 0.12])
    robot.at_read = lambda: robot.clock.advance(next(slow, 0.0))
    report = make_runner().run(4)
    assert (report.counts["misses"], report.counts["skipped"], report.ticks) == (1, 2, 4)
    np.testing.assert_allclose(np.diff(robot.times), [0.03, PERIOD, PERIOD], atol=1e-9)


def test_run_ends_where_it_is_told_to(make_runner, robot):
    report = make_runner().run(50, until=lambda: len(robot.written) >= 7)
    assert report.ticks == 7


def test_first_chunk_is_there_before_the_clock_is_armed(make_runner, robot):
    report = make_runner(0.4).run(8)
    assert robot.times[0] == pytest.approx(100.4)
    assert report.counts["starved"] == report.counts["misses"] == 0


def test_closing_stops_the_robot(make_runner, robot):
    with make_runner() as runner:
        runner.run(3)
        assert robot.stops == 0
    assert robot.stops == 1


def test_warm_up_goes_on_until_the_tail_settles_and_stays_out_of_the_statistics(make_runner):
    taken = []

    def seconds(request):
        taken.append(request)
        return 9.0 if len(taken) == 1 else 1.0 if len(taken) <= 12 else 0.01

    report = make_runner(seconds, warm_up=60.0).run(20)
    assert (report.warm_up.calls, report.warm_up.settled) == (40, True)
    assert max(report.windows["policy"]) == 0.01


def test_warm_up_that_does_not_settle_ends_in_time_and_is_reported(make_runner):
    seconds = iter(8 * 0.97**k for k in range(1000))
    report = make_runner(lambda request: next(seconds), warm_up=60.0, first_chunk=60.0, hold=60.0).run(2)
    assert not report.warm_up.settled
    assert report.warm_up.seconds == pytest.approx(60.0)


def test_warm_up_may_run_out_of_time_in_the_middle_of_a_call(make_runner, robot):
    seconds = iter([0.4, 0.4, 0.4])
    report = make_runner(lambda request: next(seconds, 0.01), warm_up=1.0).run(20)
    assert (report.warm_up.calls, report.warm_up.settled, report.fault) == (2, False, None)
    assert steps(robot) == list(range(20))
    assert max(report.windows["policy"]) == pytest.approx(0.01)


def test_statistics_are_of_the_last_calls(make_runner):
    calls = []

    def seconds(request):
        calls.append(request)
        return 0.05 if len(calls) <= 5 else 0.001

    report = make_runner(seconds, lead=8).run(WINDOW + 20)
    assert len(report.windows["policy"]) == WINDOW
    assert report.to_dict()["latency_ms"]["max"] == pytest.approx(1.0)


def test_report_holds_percentiles_in_milliseconds(make_runner):
    content = make_runner(0.01).run(30).to_dict()
    assert content["latency_ms"]["p99"] == pytest.approx(10.0)
    assert content["jitter_ms"]["max"] == pytest.approx(0.0, abs=1e-6)
    assert content["observe_ms"].keys() == {"p50", "p95", "p99", "max"}


def test_ten_thousand_ticks_leave_the_memory_as_it_was(make_runner, robot, counting):
    robot.write = lambda action: None
    counting.preprocess, counting.infer = (lambda calls: None), (lambda inputs: np.zeros((1, 15, 2)))
    runner = make_runner(0.06)
    runner.run(2_000)
    tracemalloc.start()
    for window in runner.report.windows.values():  # full, as after hours
        window.extend(float(k) for k in range(WINDOW))
    runner.run(1_000)
    before = tracemalloc.get_traced_memory()[0]
    runner.run(10_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 16_000
    assert runner.report.ticks == 13_000
