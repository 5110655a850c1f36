import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_envs.rollouts.rollout import Request
from isd_policy.batched import BatchedPolicy


@pytest.fixture
def requests(sizes):
    rng = np.random.default_rng(0)
    return [Request(i, i % 3, {k: rng.normal(size=(2, n)) for k, n in sizes.items()}) for i in range(37)]


def test_a_row_is_equal_to_the_last_bit_whatever_the_other_rows_are(policy, requests):
    act = BatchedPolicy(policy, 2, seed=0)
    together = act(requests)
    np.testing.assert_array_equal(together, np.concatenate([act([request]) for request in requests]))
    np.testing.assert_array_equal(together[::-1], act(requests[::-1]))


def test_a_row_is_equal_to_the_last_bit_whatever_the_threads(policy, requests):
    act = BatchedPolicy(policy, 2, seed=0)
    one = act(requests)
    torch.set_num_threads(2)
    np.testing.assert_array_equal(act(requests), one)


def test_rows_are_the_policy_s_predictions(policy, requests):
    actions = BatchedPolicy(policy, 1, seed=3)(requests[:2])
    obs = {k: torch.tensor(np.stack([r.obs[k] for r in requests[:2]]), dtype=torch.float32) for k in requests[0].obs}
    expected = policy.plan(obs, torch.from_numpy(policy.noise("gaussian", [(3, 0, 0), (3, 1, 1)])), 1)[:, :8]
    np.testing.assert_allclose(actions, expected.numpy(), atol=1e-5)


def test_more_rows_a_call_change_an_answer_by_rounding_alone(policy, requests):
    act = BatchedPolicy(policy, 2, seed=0, rows=48)
    np.testing.assert_allclose(act(requests), BatchedPolicy(policy, 2, seed=0)(requests), atol=1e-5)
    assert len(act.call_seconds) == 1


@pytest.mark.parametrize("rows", [0, 24, -16])
def test_rows_are_a_multiple_of_16(policy, rows):
    with pytest.raises(InputError, match=f"rows={rows}: expected a multiple of 16"):
        BatchedPolicy(policy, 2, seed=0, rows=rows)


@pytest.mark.parametrize("change", [{"episode": 99}, {"call": 99}], ids=str)
def test_noise_is_of_the_episode_and_the_call(policy, requests, change):
    act = BatchedPolicy(policy, 1, seed=0)
    request = requests[0]
    other = Request(**({"episode": request.episode, "call": request.call, "obs": request.obs} | change))
    assert not np.array_equal(act([request]), act([other]))


def test_calls_are_timed(policy, requests):
    act = BatchedPolicy(policy, 1, seed=0)
    act.warm_up()
    act(requests)
    assert len(act.call_seconds) == 3
