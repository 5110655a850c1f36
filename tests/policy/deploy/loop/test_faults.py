"""Whatever fails, the robot gets a defined action or a stop within one tick, and the report says what happened."""

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_policy.deploy.loop.robot import Stamped

PERIOD = 0.05
NEVER = float("inf")


def never_late(robot):
    """Every tick up to the stop brought an action, at most half a period after its deadline."""
    ticks = (np.array(robot.times) - robot.times[0]) / PERIOD
    late = ticks - np.arange(len(ticks))
    assert late.min() > -1e-6
    assert late.max() < 0.5 + 1e-6


def events(report):
    return " | ".join(event for _, event in report.events)


def from_call(number, value, otherwise=0.01):
    """Seconds of each call: `value` from one call on."""
    calls = iter(range(10**6))
    return lambda request: value if next(calls) >= number else otherwise


# -- inference --------------------------------------------------------------------------------------------------------


def test_inference_that_hangs_ends_on_the_reserve_then_holds_then_stops(make_runner, robot):
    report = make_runner(from_call(1, NEVER), hold=0.2, patience=0.0).run(100)
    assert len(robot.written) == 15 + 4  # a whole chunk, then 0.2 s
    np.testing.assert_array_equal(robot.written[15], [0.0, robot.written[14][1]])
    assert robot.stops == 1
    assert "call 1 of the policy has been running for" in report.fault
    never_late(robot)


def test_inference_that_raises_at_once_is_a_stop_before_the_loop_is_armed(make_runner, robot, counting):
    def fails(chunk):
        raise ZeroDivisionError("no weights left")

    counting.change = fails
    report = make_runner(0.01).run(100)
    assert (robot.written, robot.stops) == ([], 1)
    assert "no weights left" in report.fault


def test_inference_that_raises_now_and_then_costs_no_tick(make_runner, robot, counting):
    numbers = iter(range(1000))

    def sometimes(chunk):
        if next(numbers) % 3 == 1:
            raise ZeroDivisionError("a hiccup")
        return chunk

    counting.change = sometimes
    report = make_runner(0.01).run(60)
    assert report.counts["failed"] > 2
    assert (report.fault, report.counts["starved"]) == (None, 0)
    assert "a call of the policy failed: ZeroDivisionError: a hiccup" in events(report)
    never_late(robot)


def test_inference_that_raises_from_some_call_on_is_a_stop_after_the_hold(make_runner, robot, counting):
    numbers = iter(range(1000))

    def at_last(chunk):
        if next(numbers) >= 2:
            raise ZeroDivisionError("broken")
        return chunk

    counting.change = at_last
    report = make_runner(0.01, hold=0.2).run(100)
    assert "gave no usable chunk; the last one: a call of the policy failed: ZeroDivisionError: broken" in report.fault
    assert robot.stops == 1
    never_late(robot)


def test_three_chunks_with_nan_stop_the_robot_and_none_reaches_it(make_runner, robot, counting):
    numbers = iter(range(1000))

    def spoilt(chunk):
        if next(numbers) >= 1:
            chunk[5, 1] = np.nan
        return chunk

    counting.change = spoilt
    report = make_runner(0.01).run(100)
    assert np.isfinite(robot.written).all()
    assert report.counts["rejected"] == 3
    assert "not finite" in report.fault
    assert robot.stops == 1
    never_late(robot)


def test_two_chunks_with_nan_do_not(make_runner, robot, counting):
    numbers = iter(range(1000))

    def spoilt(chunk):
        return chunk * np.nan if next(numbers) % 3 else chunk

    counting.change = spoilt
    report = make_runner(0.01).run(60)
    assert report.counts["rejected"] > 4
    assert (report.fault, len(robot.written)) == (None, 60)


def test_chunk_of_another_size_is_rejected(make_runner, counting):
    counting.change = lambda chunk: chunk[:, :1]
    report = make_runner().run(10)
    assert "its shape is [15, 1]; the robot takes actions of 2 numbers" in report.fault


def test_chunk_that_comes_after_all_its_steps_is_dropped(make_runner):
    numbers = iter(range(1000))
    report = make_runner(lambda request: 0.8 if next(numbers) == 1 else 0.01, hold=5.0, lead=8).run(40)
    assert report.counts["stale"] == 1
    assert report.fault is None


# -- observations -----------------------------------------------------------------------------------------------------


def test_observations_that_stand_still_stop_the_robot(make_runner, robot):
    runner = make_runner(0.01, stale=0.2, hold=0.2)
    frozen = {}

    def read():
        if len(robot.written) < 10:
            return Stamped({"step": np.array([float(len(robot.written))])}, robot.clock.now())
        return frozen.setdefault("it", Stamped({"step": np.array([10.0])}, robot.clock.now()))

    robot.read = read
    report = runner.run(100)
    assert "the newest observation is" in report.fault
    assert robot.stops == 1
    never_late(robot)


def test_observation_that_goes_back_in_time_is_left_out(make_runner, robot, counting):
    times = {12: -1.0, 13: -1.0}

    def read():
        step = len(robot.written)
        return Stamped({"step": np.array([float(step)])}, robot.clock.now() + times.get(step, 0.0))

    robot.read = read
    report = make_runner(0.01, lead=8).run(30)
    assert report.counts["refused"] == 2
    assert "its time went back by 0.9" in events(report)
    assert not {12.0, 13.0} & {float(seen[-1]) for seen in counting.seen}
    assert report.fault is None
    never_late(robot)


def test_observation_from_another_clock_is_left_out(make_runner, robot):
    ahead = iter([0.0] * 5 + [1e9] * 3 + [0.0] * 100)
    robot.read = lambda: Stamped({"step": np.zeros(1)}, robot.clock.now() + next(ahead))
    report = make_runner(0.01).run(30)
    assert (report.counts["refused"], report.fault) == (3, None)
    assert "ahead of the loop's clock" in events(report)


def test_wrong_schema_before_arming_is_the_caller_s_error(make_runner, robot, counting):
    def row(obs):
        raise InputError("The observation has no `cube`.")

    counting.row = row
    with make_runner() as runner, pytest.raises(InputError, match="no `cube`"):
        runner.run(10)
    assert (robot.written, robot.stops) == ([], 1)


def test_wrong_schema_in_mid_episode_is_refused_and_ends_in_a_stop(make_runner, robot, counting):
    right = counting.row

    def row(obs):
        if len(robot.written) >= 10:
            raise InputError("The observation has no `cube`.")
        return right(obs)

    counting.row = row
    report = make_runner(0.01, stale=0.2, hold=0.2).run(100)
    assert "an observation was refused: The observation has no `cube`." in events(report)
    assert "the newest observation is" in report.fault
    never_late(robot)


# -- robot and clock --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["read", "write"])
def test_robot_that_raises_is_stopped_at_once(make_runner, robot, method):
    runner = make_runner()
    runner.run(5)

    def fails(*values):
        raise OSError("cable")

    setattr(robot, method, fails) if method == "write" else setattr(robot, "at_read", fails)
    if method == "read":
        robot.at_read = lambda: None if robot.reads <= 9 else fails()
    report = runner.run(50)
    assert "OSError: cable" in report.fault
    assert robot.stops == 1


def test_stop_that_raises_is_told(make_runner, robot):
    def fails():
        raise OSError("no brake")

    robot.stop = fails
    report = make_runner(from_call(1, NEVER), hold=0.1).run(100)
    assert "the robot's stop failed: OSError: no brake" in events(report)


def test_stopped_runner_stays_stopped(make_runner):
    runner = make_runner(from_call(1, NEVER), hold=0.1)
    runner.run(100)
    with pytest.raises(RuntimeError, match="was stopped"):
        runner.run(1)


def test_clock_that_jumps_ahead_skips_deadlines_and_goes_on(make_runner, robot):
    jumps = {10: 10.0}
    robot.at_read = lambda: robot.clock.advance(jumps.pop(len(robot.written), 0.0))
    report = make_runner(0.01).run(30)
    assert (report.counts["misses"], report.counts["skipped"]) == (1, 200)
    assert (report.fault, len(robot.written)) == (None, 30)


def test_clock_that_steps_back_costs_at_most_a_tick(make_runner, robot):
    jumps = {10: -10.0}
    robot.at_read = lambda: robot.clock.advance(jumps.pop(len(robot.written), 0.0))
    report = make_runner(0.01).run(30)
    assert report.counts["clock_steps"] == 1
    assert "the clock went back" in events(report)
    assert (report.fault, len(robot.written)) == (None, 30)
    assert max(np.diff(robot.times)) < 2 * PERIOD


# -- resets -----------------------------------------------------------------------------------------------------------


def test_chunk_of_an_episode_that_is_over_is_discarded(make_runner, robot, counting):
    numbers = iter(range(1000))
    runner = make_runner(lambda request: 0.3 if next(numbers) == 1 else 0.01, lead=8, blend=0)
    runner.run(3)
    assert runner.inference.running is not None
    counting.change = lambda chunk: -np.abs(chunk) - 0.1
    robot.written.clear()
    report = runner.run(20)
    assert report.counts["reset"] == 1
    assert all(action[0] < 0 for action in robot.written)
    assert "reset" in [chunk.outcome for chunk in report.chunks]


def test_reset_between_two_ticks_discards_what_is_being_computed(make_runner, robot, counting):
    runner = make_runner(0.12, lead=8, blend=0)
    robot.at_read = lambda: runner.reset() if len(robot.written) == 10 else None
    report = runner.run(30)
    assert report.counts["reset"] == 1
    assert report.counts["epochs"] == 2
    assert report.fault is None
    never_late(robot)


def test_newest_observation_waits_while_an_old_epoch_is_computed(make_runner, robot, counting):
    numbers = iter(range(1000))
    runner = make_runner(lambda request: 0.42 if next(numbers) == 1 else 0.01, lead=8)
    robot.at_read = lambda: runner.reset() if len(robot.written) == 5 else None
    report = runner.run(30)
    assert report.counts["superseded"] == 2
    seen = [float(history[-1]) for history in counting.seen]
    assert seen[2] == 8  # not the observation of the tick of the reset


# -- after a stop nothing moves ---------------------------------------------------------------------------------------


def test_a_stop_that_raises_is_tried_again(make_runner, robot):
    failures = iter([OSError("the bus is busy"), OSError("the bus is busy")])
    told = robot.stop

    def stop():
        for failure in failures:
            raise failure
        told()

    robot.stop = stop
    robot.at_read = lambda: 1 / 0 if len(robot.written) == 3 else None
    report = make_runner().run(10)
    assert robot.stops == 1
    assert events(report).count("the robot's stop failed: OSError: the bus is busy") == 2
    assert "could not be read" in report.fault


def test_a_robot_that_cannot_be_stopped_is_an_error_at_the_end(make_runner, robot):
    def stop():
        raise OSError("the bus is gone")

    runner = make_runner()
    runner.run(3)
    robot.stop = stop
    with pytest.raises(RuntimeError, match="the bus is gone"):
        runner.close()


def test_ctrl_c_in_the_loop_stops_the_robot(make_runner, robot):
    def interrupt():
        if len(robot.written) == 3:
            raise KeyboardInterrupt
        return False

    runner = make_runner()
    with pytest.raises(KeyboardInterrupt):
        runner.run(10, until=interrupt)
    assert (len(robot.written), robot.stops) == (3, 1)
    assert "KeyboardInterrupt" in runner.report.fault


# -- what is no number ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), float("-inf")])
def test_a_time_that_is_no_number_makes_an_observation_stale(make_runner, robot, moment):
    right = robot.read
    robot.read = lambda: right()._replace(time=moment) if len(robot.written) >= 3 else right()
    report = make_runner(hold=0.2, stale=0.2).run(200)
    assert "the newest observation is" in report.fault
    assert report.counts["refused"] > 3
    assert robot.stops == 1


def test_a_first_observation_whose_time_is_no_number_is_an_input_error(make_runner, robot):
    right = robot.read
    robot.read = lambda: right()._replace(time=float("nan"))
    with pytest.raises(InputError, match="has the time nan"):
        make_runner().run(10)


@pytest.mark.parametrize(
    "answer",
    [
        [[[0.1, 0.2]] * 8],
        [],
        None,
        {"actions": 1},
        "go",
        3.0,
        np.array([["a", "b"]]),
        np.zeros((1, 8, 3)),
        np.zeros((1, 8)),
        np.zeros((1, 0, 2)),
        np.zeros((1, 8, 2), object),
        np.zeros((1, 8, 2), complex),
        np.full((1, 8, 2), np.inf),
    ],
)
def test_whatever_a_policy_answers_is_no_exception_out_of_the_loop(make_runner, robot, counting, answer):
    calls, right = iter(range(1000)), counting.infer
    counting.infer = lambda history: right(history) if next(calls) < 2 else answer
    report = make_runner(hold=0.2).run(200)
    assert report.fault is not None
    assert robot.stops == 1
    assert all(np.isfinite(action).all() and action.shape == (2,) for action in robot.written)
