"""Experts of other packages' tasks: MetaWorld's policies, and policy networks for Adroit's hand."""

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES
from isd_envs.demonstrations.experts import check_expert, make_expert
from isd_envs.demonstrations.experts.adroit import read_policy
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.engines.slot import EnvSlot
from isd_envs.suites import adroit, metaworld


def weights(**changes):
    """A policy of two layers for Adroit's door."""
    rng = np.random.default_rng(0)
    arrays = {
        "layer0.weight": rng.normal(size=(8, 39)),
        "layer0.bias": rng.normal(size=8),
        "layer1.weight": rng.normal(size=(28, 8)),
        "layer1.bias": rng.normal(size=28),
        "in_shift": rng.normal(size=39),
        "in_scale": rng.uniform(1, 2, 39),
        "out_shift": rng.normal(size=28),
        "out_scale": rng.uniform(0.1, 0.2, 28),
        "log_std": np.zeros(28),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


@pytest.fixture
def door(tmp_path):
    np.savez(tmp_path / "door.npz", **weights())
    return str(tmp_path / "door.npz")


def test_every_task_of_the_suites_has_an_expert() -> None:
    tasks = {f"adroit/{title}" for title in adroit.TASKS} | {f"metaworld/{title}" for title in metaworld.TASKS}
    assert tasks <= set(ROLES["expert"].names())


def test_the_action_is_that_of_the_network(door) -> None:
    arrays, state = weights(), np.random.default_rng(1).normal(size=39)
    normalised = (state - arrays["in_shift"]) / arrays["in_scale"]
    hidden = np.tanh(arrays["layer0.weight"] @ normalised + arrays["layer0.bias"])
    action = (arrays["layer1.weight"] @ hidden + arrays["layer1.bias"]) * arrays["out_scale"] + arrays["out_shift"]
    executed, meant = make_expert("adroit/door", {"file": door}, 0.0, np.random.default_rng(0)).act({"state": state})
    np.testing.assert_allclose(meant, np.clip(action, -1, 1), rtol=1e-6)
    np.testing.assert_array_equal(executed, meant)


def test_noise_reaches_every_joint_of_the_hand_and_spares_the_gripper_of_the_arm(door) -> None:
    state = {"state": np.zeros(39)}
    executed, meant = make_expert("adroit/door", {"file": door}, 1e-3, np.random.default_rng(0)).act(state)
    assert np.all((executed != meant) | (np.abs(meant) == 1))
    pytest.importorskip("metaworld", reason=metaworld.INSTALL)
    executed, meant = make_expert("metaworld/reach-v3", {}, 1e-3, np.random.default_rng(0)).act(state)
    assert executed[3] == meant[3] and np.all(executed[:3] != meant[:3])


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, r"whose weights are yours to give: \+expert\.file=FILE\.npz"),
        ({"file": "missing.npz"}, r"expert\.file=missing\.npz cannot be read"),
        ({"weights": "x.npz"}, "expert has no field `weights`.*takes: file"),
    ],
)
def test_missing_weights_and_other_fields_are_refused(options, expected) -> None:
    with pytest.raises(InputError, match=expected):
        check_expert("adroit/door", options)


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"out_scale": None}, "lacks out_scale; it has layer0.weight"),
        ({"layer1.weight": np.zeros((28, 9))}, r"layer1\.weight is \[28, 9\]; expected \[28, 8\]"),
        ({"layer0.bias": np.full(8, np.nan)}, r"layer0\.bias holds NaN"),
        ({"in_shift": np.array({}, dtype=object)}, "cannot be read as an .npz file of arrays"),
    ],
)
def test_damaged_weights_are_named(tmp_path, changes, expected) -> None:
    np.savez(tmp_path / "policy.npz", **weights(**changes))
    with pytest.raises(InputError, match=expected):
        read_policy(tmp_path / "policy.npz")


def test_weights_of_another_task_are_refused(door) -> None:
    expert = make_expert("adroit/pen", {"file": door}, 0.0, np.random.default_rng(0))
    with pytest.raises(InputError, match="observations of 39 numbers, but this task's have 45"):
        expert.decide({"state": np.zeros(45)})


@pytest.mark.parametrize("title", ["assembly-v3", "button-press-topdown-v3"])
def test_metaworlds_policies_succeed(title) -> None:
    pytest.importorskip("metaworld", reason=metaworld.INSTALL)
    slot = EnvSlot(GymSpec(f"metaworld/{title}"))
    shown = [slot.demonstrate(0, index, 0.05, max_steps=500, extra_steps=3) for index in range(3)]
    assert [demonstration.success for demonstration in shown] == [True] * 3
    assert all(demonstration.rewards[-4:-3] == 1 for demonstration in shown)
    assert shown[0].states.shape == (len(shown[0].actions) + 1, 0)
    slot.close()


def test_an_episode_of_a_policy_that_does_not_solve_it_ends_at_the_cap(door) -> None:
    pytest.importorskip("gymnasium_robotics", reason=adroit.INSTALL)
    slot = EnvSlot(GymSpec("adroit/door"))
    shown = slot.demonstrate(0, 0, 0.0, max_steps=12, extra_steps=3, options={"file": door})
    assert (shown.success, shown.actions.shape) == (False, (12, 28))
    slot.close()
