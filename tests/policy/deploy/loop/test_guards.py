"""No action passes the limits, and the report is told which one acted."""

import re

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_policy.deploy.loop.guards import BOXED, CLIPPED, SLOWED, Box, Guards

HAND = {"robot0_eef_pos": np.array([0.0, 0.0, 1.0])}


def box(keys=("robot0_eef_pos",), scale=0.05):
    return Box(np.array([-0.2, -0.2, 0.8]), np.array([0.2, 0.2, 1.2]), scale, keys)


def moved(x=0.0, y=0.0, z=0.0):
    return np.array([x, y, z, 0.0, 0.0, 0.0, 1.0])


def test_an_action_within_all_limits_is_left_alone():
    guards = Guards.displacements(7, rate=0.5, box=box())
    action, changes = guards(moved(0.3), moved(), HAND)
    np.testing.assert_array_equal(action, moved(0.3))
    assert changes == ()


def test_range():
    action, changes = Guards.displacements(7)(moved(3.0, -2.0), None, HAND)
    np.testing.assert_array_equal(action, moved(1.0, -1.0))
    assert changes == (CLIPPED,)


def test_rate_is_against_the_last_action():
    guards = Guards.displacements(7, rate=0.1)
    action, changes = guards(moved(0.5), moved(0.2), HAND)
    assert action[0] == pytest.approx(0.3)
    assert changes == (SLOWED,)
    np.testing.assert_array_equal(guards(moved(0.5), None, HAND).action, moved(0.5))


def test_each_number_may_have_a_rate_of_its_own():
    rate = np.array([0.1, 0.2, 1, 1, 1, 1, np.inf])
    action, _ = Guards.displacements(7, rate=rate)(moved(1.0, 1.0), moved() * [1, 1, 1, 1, 1, 1, -1], HAND)
    np.testing.assert_allclose(action[[0, 1, 6]], [0.1, 0.2, 1.0])


def test_displacements_end_at_the_box():
    at = {"robot0_eef_pos": np.array([0.18, 0.0, 1.0])}
    action, changes = Guards.displacements(7, box=box())(moved(1.0, 1.0), None, at)
    assert action[0] == pytest.approx(0.02 / 0.05)
    assert action[1] == 1.0
    assert changes == (BOXED,)


def test_an_arm_outside_the_box_may_come_back_but_not_go_further():
    at = {"robot0_eef_pos": np.array([0.3, 0.0, 1.0])}
    guards = Guards.displacements(7, box=box())
    assert guards(moved(0.5), None, at).action[0] == 0.0
    assert guards(moved(-0.5), None, at).action[0] == -0.5


def test_every_arm_has_its_own_position():
    keys = ("robot0_eef_pos", "robot1_eef_pos")
    at = {"robot0_eef_pos": np.array([0.0, 0.0, 1.0]), "robot1_eef_pos": np.array([0.2, 0.0, 1.0])}
    action, _ = Guards.displacements(14, box=box(keys))(np.concatenate([moved(1.0), moved(1.0)]), None, at)
    np.testing.assert_allclose(action[[0, 7]], [1.0, 0.0])


def test_poses_are_clipped_to_the_box():
    guards = Guards.positions(np.full(7, -9.0), np.full(7, 9.0), box=box(keys=()))
    np.testing.assert_allclose(guards(moved(0.9, -0.9, 1.0), None, {}).action[:3], [0.2, -0.2, 1.0])


def test_rate_of_a_pose_turns_the_short_way():
    guards = Guards.positions(np.full(7, -9.0), np.full(7, 9.0), rate=0.05)
    last, wanted = moved(), moved()
    last[3], wanted[3] = 3.1, -3.1  # 0.083 rad apart
    assert guards(wanted, last, {}).action[3] == pytest.approx(3.15)


def test_holding_by_displacements_is_zero_with_the_gripper_as_it_was():
    last = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, -1.0])
    np.testing.assert_array_equal(Guards.displacements(7).hold(last), [0, 0, 0, 0, 0, 0, -1])


def test_holding_by_positions_is_the_last_one():
    guards = Guards.positions(np.zeros(2), np.full(2, 512.0))
    np.testing.assert_array_equal(guards.hold(np.array([3.0, 4.0])), [3.0, 4.0])


@pytest.mark.parametrize(
    "actions, words",
    [
        (np.full((3, 7), np.nan), "not finite"),
        (np.full((3, 7), np.inf), "not finite"),
        (np.zeros((3, 6)), r"shape is \[3, 6\]"),
        (np.zeros((0, 7)), r"shape is \[0, 7\]"),
        (np.zeros(7), r"shape is \[7\]"),
    ],
)
def test_chunks_that_no_limit_could_mend(actions, words):
    assert re.search(words, Guards.displacements(7).objection(actions))


def test_a_chunk_of_numbers_has_no_objection():
    assert Guards.displacements(7).objection(np.zeros((3, 7))) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Guards(np.zeros(2), np.zeros(3), np.zeros(2)),
        lambda: Guards(np.ones(2), np.zeros(2), np.zeros(2)),
        lambda: Guards.displacements(7, rate=0.0),
        lambda: Box(np.ones(3), np.zeros(3)),
        lambda: Box(np.zeros(2), np.ones(2)),
    ],
)
def test_limits_that_do_not_fit_each_other_are_an_input_error(make):
    with pytest.raises(InputError):
        make()
