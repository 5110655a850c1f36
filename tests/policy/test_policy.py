import warnings

import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.actions import Plain
from isd_policy.backend import Call
from isd_policy.build import build_policy, fit_normaliser
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons
from isd_policy.normaliser import FARTHEST
from isd_policy.observations import ObservationSchema
from isd_policy.policy import Policy


def history(policy, n, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return {key: torch.randn(n, 2, *shape, generator=rng) for key, shape in policy.schema.shapes.items()}


def test_prepare_gives_normalised_actions_and_joined_observations(config, demonstrations, sizes):
    demos = demonstrations([20, 30], sizes, action_size=7)
    policy = build_policy(config, fit_normaliser(demos, Plain()))
    data = ActionChunks(demos, Horizons())
    x, cond = policy.prepare(data.batch(torch.arange(len(data))), torch.Generator())
    assert x.shape == (len(data), 16, 7)
    assert cond["obs"].shape == (len(data), 2 * 19)
    assert max(x.abs().max(), cond["obs"].abs().max()) <= 1 + 1e-5


def test_first_weights_depend_on_the_seed_alone(config, normaliser):
    def weights(seed):
        return torch.cat([p.flatten() for p in build_policy(config | {"seed": seed}, normaliser).net.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_plan_begins_with_the_newest_observation_in_the_units_of_the_data(policy):
    obs, noise = history(policy, 3), torch.randn(3, 16, 7)
    whole = policy.sampler(policy.net, noise, 2, policy.condition(obs)).detach()
    expected = policy.normaliser.action.inverse(whole[:, 1:].clamp(-1, 1))
    torch.testing.assert_close(policy.plan(obs, noise, 2), expected)


def test_prediction_stays_in_the_range_of_the_training_actions(policy):
    actions = policy.plan(history(policy, 8), 100 * torch.randn(8, 16, 7), 1)
    assert actions.min() >= -0.5 - 1e-6
    assert actions.max() <= 0.9 + 1e-6


@pytest.mark.parametrize("nfe", [0, -1, 1.5])
def test_number_of_evaluations_below_one_is_an_input_error(policy, nfe):
    with pytest.raises(InputError, match="at least 1"):
        policy.plan(history(policy, 1), torch.zeros(1, 16, 7), nfe)


def test_act_uses_the_last_observations(policy, observations):
    rows = observations(3)
    policy.observe(rows[0])
    policy.observe(rows[1])
    actions = policy.act(rows[2], initial_noise="zeros")
    seen = {key: torch.tensor(np.stack([rows[1][key], rows[2][key]]), dtype=torch.float32)[None] for key in rows[0]}
    np.testing.assert_array_equal(actions, policy.plan(seen, torch.zeros(1, 16, 7), 1)[0, :8].numpy())


def test_first_observation_fills_the_history(policy, observations):
    (row,) = observations(1)
    filled = policy.act(row, initial_noise="zeros")
    policy.reset()
    policy.observe(row)
    np.testing.assert_array_equal(policy.act(row, initial_noise="zeros"), filled)


def test_reset_repeats_an_episode(policy, observations):
    rows = observations(2)
    first = [policy.act(row) for row in rows]
    policy.reset()
    np.testing.assert_array_equal([policy.act(row) for row in rows], first)


def test_noise_differs_between_calls_and_seeds(policy, observations):
    (row,) = observations(1)
    calls = [policy.act(row), policy.act(row)]
    policy.reset(seed=1)
    assert not np.array_equal(calls[0], calls[1])
    assert not np.array_equal(calls[0], policy.act(row))


def test_start_from_zeros_draws_no_noise(policy):
    np.testing.assert_array_equal(policy.noise("zeros", [(0,), (1,)]), np.zeros((2, 16, 7)))


def test_chunk_is_an_array_of_the_executed_length(policy, observations):
    actions = policy.act(observations(1)[0])
    assert isinstance(actions, np.ndarray)
    assert actions.shape == (8, 7)


def test_missing_observation_is_an_input_error(policy, observations):
    (row,) = observations(1)
    del row["object"]
    with pytest.raises(InputError, match="no `object`"):
        policy.act(row)


def test_observation_of_another_size_is_an_input_error(policy, observations):
    row = observations(1)[0] | {"object": np.zeros(14)}
    with pytest.raises(InputError, match=r"shape \(14,\); the policy was trained with \(10,\)"):
        policy.act(row)


def test_observation_that_is_not_finite_is_an_input_error(policy, observations):
    row = observations(1)[0] | {"robot0_eef_pos": np.array([0.0, np.nan, 0.0])}
    with pytest.raises(InputError, match="`robot0_eef_pos` is not finite"):
        policy.act(row)


def test_unknown_initial_noise_is_an_input_error(policy):
    with pytest.raises(InputError, match="gaussian or zeros"):
        policy.noise("ones", [(0,)])


def test_normaliser_of_another_observation_is_an_input_error(policy):
    with pytest.raises(InputError, match="have 3 numbers together"):
        Policy(policy.net, policy.normaliser, policy.sampler, policy.horizons, ObservationSchema({"object": (3,)}))


def test_actions_that_are_not_finite_are_an_error(policy, observations):
    far = {key: np.full_like(value, 1e30) for key, value in observations(1)[0].items()}
    with pytest.raises(FloatingPointError, match="not finite"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        policy.act(far)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_an_overflow_in_the_network_is_not_taken_for_a_limit(policy, observations, monkeypatch, broken):
    monkeypatch.setattr(policy, "sampler", lambda net, noise, nfe, condition: torch.full_like(noise, broken))
    with pytest.raises(FloatingPointError, match="not finite"):
        policy.act(observations(1)[0])


def test_an_observation_far_from_the_training_data_is_told_of_once(policy, observations):
    row = observations(1)[0]
    low, high = policy.training_range["object"]
    far = row | {"object": row["object"] + 0.0}
    far["object"][3] = high[3] + 11 * (high[3] - low[3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.row(row)
    with pytest.warns(RuntimeWarning, match="`object` is far from the training data: number 3 of it"):
        policy.row(far)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.row(far)


@pytest.mark.parametrize("value", ["ten", ["1"] * 10, b"0123456789", None, {"x": 1}, [[1.0], [1.0, 2.0]], [None] * 10])
def test_what_is_no_number_is_no_observation(policy, observations, value):
    with pytest.raises(InputError, match="`object`"):
        policy.row(observations(1)[0] | {"object": value})


@pytest.mark.parametrize("value", [1e10, -1e20, 3e38])
def test_an_observation_beyond_all_reason_gets_no_answer_and_the_other_rows_theirs(policy, observations, value):
    near = policy.row(observations(1)[0])
    far = near | {"object": near["object"].copy()}
    far["object"][2] = value
    calls = [Call([near, near], (0, 0)), Call([near, far], (0, 1)), Call([near, near], (0, 2))]
    actions = policy.infer(policy.preprocess(calls), 1)
    assert np.isnan(actions[1]).all() and np.isfinite(actions[[0, 2]]).all()
    with pytest.raises(FloatingPointError, match="too far from the training data"):
        policy.act(far)


def test_up_to_a_million_half_ranges_an_observation_is_answered(policy, observations):
    row = observations(1)[0]
    low, high = policy.training_range["object"]
    for share, finite in ((0.99, True), (1.01, False)):
        row["object"][0] = (low[0] + high[0]) / 2 + share * FARTHEST * (high[0] - low[0]) / 2
        assert np.isfinite(policy.infer(policy.preprocess([Call([policy.row(row)] * 2, (0,))]))).all() == finite
