"""Chunks merge by what was really taken, and the border between two is smoothed."""

import numpy as np
import pytest

from isd_policy.deploy.loop.action_buffer import ActionBuffer, Merged
from isd_policy.deploy.loop.turns import nearest_turn


def chunk(value, n=15):
    """Action i of a chunk is (value, i)."""
    return np.stack([np.full(n, float(value)), np.arange(float(n))], axis=1)


def taken(buffer, n):
    return np.array([buffer.next() for _ in range(n)])


def test_actions_of_one_chunk_follow_each_other():
    buffer = ActionBuffer(execution=8, blend=4)
    buffer.merge(chunk(1), asked=0)
    np.testing.assert_array_equal(taken(buffer, 15), chunk(1))
    assert buffer.next() is None


def test_steps_that_passed_are_dropped():
    buffer = ActionBuffer(execution=8, blend=0)
    buffer.merge(chunk(1), asked=0)
    taken(buffer, 5)
    assert buffer.merge(chunk(2), asked=2) == Merged(dropped=3, blended=0)
    np.testing.assert_array_equal(buffer.next(), [2.0, 3.0])


def test_actions_that_the_robot_did_not_take_do_not_count():
    buffer = ActionBuffer(execution=8, blend=0, reserve=False)
    buffer.merge(chunk(1), asked=0)
    taken(buffer, 8)
    assert [buffer.next() for _ in range(3)] == [None] * 3  # the robot holds
    assert buffer.merge(chunk(2), asked=8) == Merged(dropped=0, blended=0)


def test_a_new_chunk_takes_over_linearly():
    buffer = ActionBuffer(execution=8, blend=3)
    buffer.merge(chunk(0), asked=0)
    taken(buffer, 4)
    assert buffer.merge(chunk(1), asked=2) == Merged(dropped=2, blended=3)
    np.testing.assert_allclose(taken(buffer, 4)[:, 0], [0.25, 0.5, 0.75, 1.0])


def test_blending_needs_no_more_than_what_is_left():
    buffer = ActionBuffer(execution=8, blend=10)
    buffer.merge(chunk(0), asked=0)
    taken(buffer, 13)
    assert buffer.merge(chunk(1), asked=13).blended == 2


def test_blending_leaves_the_chunk_of_the_policy_alone():
    buffer, second = ActionBuffer(execution=8, blend=4), chunk(1)
    buffer.merge(chunk(0), asked=0)
    buffer.merge(second, asked=0)
    np.testing.assert_array_equal(second, chunk(1))


def test_a_chunk_whose_steps_have_all_passed_is_refused():
    buffer = ActionBuffer(execution=8, blend=0)
    buffer.merge(chunk(1), asked=0)
    taken(buffer, 15)
    assert buffer.merge(chunk(2, n=15), asked=0) is None


def test_the_reserve_is_given_only_where_it_is_wanted():
    counts = []
    for reserve in (True, False):
        buffer = ActionBuffer(execution=8, blend=0, reserve=reserve)
        buffer.merge(chunk(1), asked=0)
        counts.append(sum(buffer.next() is not None for _ in range(20)))
    assert counts == [15, 8]


def test_fresh_counts_to_the_end_of_the_executed_part():
    buffer = ActionBuffer(execution=8, blend=0)
    assert buffer.fresh == 0
    buffer.merge(chunk(1), asked=0)
    taken(buffer, 3)
    assert (buffer.fresh, buffer.left) == (5, 12)


def test_clear_forgets_and_counts_from_zero():
    buffer = ActionBuffer(execution=8, blend=4)
    buffer.merge(chunk(1), asked=0)
    taken(buffer, 3)
    buffer.clear()
    assert (buffer.taken, buffer.left, buffer.next()) == (0, 0, None)


@pytest.mark.parametrize("angle", [0.1, 2.0, 3.1])
def test_the_other_vector_of_a_rotation_is_the_same_rotation(angle):
    axis = np.array([0.6, 0.0, 0.8])
    other = nearest_turn(angle * axis, (angle - 2 * np.pi) * axis)
    np.testing.assert_allclose(other, (angle - 2 * np.pi) * axis)
    np.testing.assert_array_equal(nearest_turn(angle * axis, angle * axis), angle * axis)


def test_no_rotation_has_no_other_vector():
    np.testing.assert_array_equal(nearest_turn(np.zeros(3), np.ones(3)), np.zeros(3))


def test_rotations_are_blended_the_short_way_round():
    """Half a turn about x, written with +pi and with -pi: the blend must not pass through no turn at all."""
    buffer = ActionBuffer(execution=8, blend=3, turns=(slice(3, 6),))
    old, new = np.zeros((15, 7)), np.zeros((15, 7))
    old[:, 3], new[:, 3] = 3.1, -3.1
    buffer.merge(old, asked=0)
    buffer.merge(new, asked=0)
    angles = np.abs(taken(buffer, 3)[:, 3])
    assert angles.min() > 3.0
