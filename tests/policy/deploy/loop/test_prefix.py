"""A policy that was trained with a delay is told what the robot will be given while its call runs."""

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.deploy.loop.simulated import jump
from tests.policy.deploy.conftest import PERIOD


@pytest.fixture
def told(counting):
    """The counting policy, trained with delays of up to six steps."""
    counting.longest_prefix = 6
    return counting


def steps(prefix):
    """The steps that the actions of a prefix are for, as the counting policy numbers them."""
    return [round(1000 * action[0]) for action in prefix]


@pytest.mark.parametrize("taken", [1, 2, 4])
def test_it_is_told_the_actions_that_are_taken_until_its_chunk_arrives(make_runner, told, robot, taken):
    runner = make_runner(delay=taken * PERIOD)
    runner.run(60)
    assert told.prefixes[0] is None  # nothing is planned before the first chunk
    later = list(zip(told.seen, told.prefixes, strict=True))[3:]
    assert len(later) > 3
    for seen, prefix in later:
        now = int(seen[-1])
        assert steps(prefix) == list(range(now, now + taken))
    assert [round(1000 * action[0]) for action in robot.written] == list(range(60))
    assert runner.report.counts["beyond"] == 0


def test_the_prefix_follows_the_measured_consumption_and_forgets_old_calls(make_runner, told):
    seconds = [2 * PERIOD] * 8 + [5 * PERIOD] * 300
    runner = make_runner(delay=lambda request: seconds[max(0, request.number)])
    runner.run(60)
    assert len(told.prefixes[6]) == 2
    runner.run(1200)
    assert len(told.prefixes[-1]) == 5
    assert runner.report.counts["beyond"] > 0  # the first of the slower calls took more than was told
    assert runner.scheduler.consumed.maxlen < len(told.prefixes)


def test_a_call_that_takes_more_than_the_law_is_told_the_longest_prefix_and_counted(make_runner, told):
    runner = make_runner(delay=9 * PERIOD)
    runner.run(80)
    assert max(len(prefix) for prefix in told.prefixes[3:]) == 6
    assert runner.report.to_dict()["chunks_beyond_their_prefix"] > 0


@pytest.mark.parametrize("settings", [{"mode": "sync"}, {"prefix": False}])
def test_a_loop_that_waits_or_is_told_not_to_gives_none(make_runner, told, settings):
    make_runner(delay=2 * PERIOD, **settings).run(60)
    assert told.prefixes and all(prefix is None for prefix in told.prefixes)


def test_a_policy_without_a_prefix_is_given_none(make_runner, counting):
    make_runner(delay=2 * PERIOD).run(60)
    assert all(prefix is None for prefix in counting.prefixes)


def test_a_reset_forgets_what_was_planned(make_runner, told):
    runner = make_runner(delay=2 * PERIOD)
    runner.run(30)
    before = len(told.prefixes)
    runner.run(30)
    assert told.prefixes[before] is None


def test_the_report_names_the_ticks_at_which_further_chunks_begin(make_runner, told):
    runner = make_runner(delay=2 * PERIOD)
    runner.run(60)
    borders = runner.report.borders(0)
    used = [chunk for chunk in runner.report.chunks if chunk.outcome == "used"]
    assert len(borders) == len(used) - 1 and all(chunk.told == 2 for chunk in used[3:])
    first = [told.seen[k][-1] + told.prefixes[k].shape[0] for k in range(3, len(borders))]
    assert borders[2 : 2 + len(first)] == [int(step) for step in first]


def test_a_setting_that_is_no_truth_is_refused():
    with pytest.raises(InputError, match="prefix=3"):
        LoopSettings(prefix=3)


@pytest.mark.parametrize("mode", ["delta", "absolute"])
def test_the_jump_is_the_change_of_speed_at_the_borders(mode):
    """A robot of two numbers that moves by (1, 0) a tick, and by (1, 3) from tick 5 on."""
    moves = np.array([[1.0, 0.0]] * 5 + [[1.0, 3.0]] * 5)
    actions = moves if mode == "delta" else np.cumsum(moves, axis=0)
    assert jump(actions, [5], mode) == pytest.approx(3.0)
    assert jump(actions, [3, 5], mode) == pytest.approx(3.0 / np.sqrt(2))
    assert jump(actions, [4], mode) == pytest.approx(0.0)
    assert np.isnan(jump(actions, [], mode)) and np.isnan(jump(actions, [0, 99], mode))
