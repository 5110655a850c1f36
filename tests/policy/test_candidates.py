"""Of several chunks one is executed: the middle one, or one that continues the last; on two ways never their mean."""

import numpy as np
import pytest
import torch

import isd_policy
from isd_core.support.errors import InputError
from isd_envs.rollouts.rollout import Request
from isd_policy.backend import Call
from isd_policy.batched import BatchedPolicy
from isd_policy.candidates import chosen, medoid, nearest
from isd_policy.deploy.bundle import __main__ as bundle
from isd_policy.deploy.bundle.folder import read
from isd_policy.deploy.client import RemotePolicy
from isd_policy.deploy.export import __main__ as export
from isd_policy.normaliser import half_range
from tests.policy.deploy.serving import running


@pytest.fixture
def rows(policy, observations):
    return [policy.row(obs) for obs in observations(4)]


@pytest.fixture
def spread(policy):
    """The policy with outputs so far apart that a choice is no matter of rounding."""
    for weight in policy.net.parameters():
        torch.nn.init.normal_(weight, std=0.15, generator=torch.Generator().manual_seed(weight.numel()))
    return policy


# -- which one --------------------------------------------------------------------------------------------------------


def test_the_medoid_is_the_one_nearest_to_the_others():
    chunks = np.array([0.0, 0.1, 0.2, 5.0, -4.0])[:, None, None] * np.ones((1, 3, 2))
    assert medoid(chunks) == 1


def test_on_two_ways_the_medoid_is_on_one_of_them_where_the_mean_lies_between():
    """Five chunks go left around an obstacle and three go right: the mean would go straight on."""
    rng = np.random.default_rng(0)
    ways = np.array([-1.0] * 5 + [1.0] * 3)[:, None, None] + 0.05 * rng.standard_normal((8, 10, 2))
    picked = chosen(ways[None], "medoid", np.ones(2))[0]
    assert np.abs(picked + 1).max() < 0.2
    assert np.abs(ways.mean(axis=0)).max() < 0.4


def test_coherent_keeps_to_the_way_that_was_taken():
    ways = np.array([-1.0] * 7 + [1.0])[:, None, None] * np.ones((1, 10, 2))
    left = np.full((4, 2), 0.8)
    assert chosen(ways[None], "coherent", np.ones(2), [left])[0, 0, 0] == 1.0
    assert chosen(ways[None], "coherent", np.ones(2), [None])[0, 0, 0] == -1.0
    assert chosen(ways[None], "coherent", np.ones(2), [left[:0]])[0, 0, 0] == -1.0
    assert chosen(ways[None], "medoid", np.ones(2), [left])[0, 0, 0] == -1.0


def test_only_the_actions_that_both_have_are_compared():
    chunks = np.zeros((2, 5, 1))
    chunks[0, 3:], chunks[1, :3] = 9.0, 0.1
    assert nearest(chunks, np.zeros((3, 1))) == 0
    assert nearest(chunks, np.zeros((5, 1))) == 1
    assert nearest(chunks, np.zeros((9, 1))) == 1


def test_distances_count_in_half_ranges_of_the_actions():
    """A number that spans 200 is no more than one that spans 2; a constant one is nothing."""
    unit = half_range(np.array([-100.0, -1.0, 3.0]), np.array([100.0, 1.0, 3.0]))
    np.testing.assert_array_equal(unit, [100.0, 1.0, 1.0])
    chunks = np.zeros((3, 1, 3))
    chunks[:, 0, 0], chunks[:, 0, 1] = [0.0, 10.0, 20.0], [0.0, 0.9, 0.05]
    assert np.array_equal(chosen(chunks[None], "medoid", unit)[0], chunks[2])


def test_what_is_not_finite_is_not_chosen_unless_there_is_nothing_else():
    chunks = np.zeros((3, 2, 1))
    chunks[0], chunks[1] = np.nan, 1.0
    assert medoid(chunks) in (1, 2) and nearest(chunks, np.zeros((2, 1))) == 2
    assert medoid(np.full((3, 2, 1), np.inf)) == 0 == nearest(np.full((3, 2, 1), np.nan), np.zeros((1, 1)))


# -- in a policy ------------------------------------------------------------------------------------------------------


def test_the_first_candidate_is_the_chunk_of_a_single_call(spread, rows):
    call = Call(rows[:2], (3, 1))
    alone = spread.preprocess([call]).noise
    spread.use(candidates=4)
    noise = spread.preprocess([call, Call(rows[2:], (3, 2))]).noise
    assert noise.shape == (8, 16, 7)
    np.testing.assert_array_equal(noise[0], alone[0])
    assert len({row.tobytes() for row in noise}) == 8


def test_the_answer_is_the_medoid_of_the_policy_s_own_chunks(spread, rows):
    calls = [Call(rows[:2], (0, 0)), Call(rows[2:], (0, 1))]
    spread.use(candidates=5)
    inputs = spread.preprocess(calls)
    every = [
        spread.predict(spread.preprocess([call])._replace(noise=inputs.noise[5 * k : 5 * k + 5]))
        for k, call in enumerate(calls)
    ]
    picked = [chunks[medoid(chunks / half_range(*spread.action_range))] for chunks in every]
    np.testing.assert_allclose(spread.infer(inputs), picked, atol=1e-6)
    assert any(medoid(chunks / half_range(*spread.action_range)) != 0 for chunks in every)


def test_act_continues_what_was_left_of_the_last_chunk(spread, observations):
    """A chunk of 15, of which eight are executed and seven are left."""
    first, *between, last = observations(9)
    spread.use(candidates=6, choose="coherent")
    spread.act(first)
    chunk = spread._left
    for obs in between:
        spread.observe(obs)
    np.testing.assert_array_equal(spread._left, chunk[7:])
    given = spread._left[1:]
    answer = spread.act(last)
    inputs = spread.preprocess([Call(spread._history.rows(), (0, 1), None, given)])
    np.testing.assert_array_equal(answer, spread.infer(inputs)[0, :8])
    spread.reset()
    assert spread._left is None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"candidates": 0}, "candidates=0"),
        ({"candidates": 2.5}, "candidates=2.5"),
        ({"candidates": True}, "candidates=True"),
        ({"candidates": 5000}, "to 1024"),
        ({"candidates": 4, "choose": "mean"}, "choose=mean"),
        ({"candidates": 4, "initial_noise": "zeros"}, "the same chunk 4 times"),
    ],
)
def test_what_is_no_choice_is_refused_and_changes_nothing(policy, options, message):
    with pytest.raises(InputError, match=message):
        policy.use(**options)
    assert (policy.candidates, policy.choose, policy.initial_noise) == (1, "medoid", "gaussian")


# -- rollouts ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def requests(sizes):
    rng = np.random.default_rng(0)
    seen = [{key: rng.normal(size=(2, size)) for key, size in sizes.items()} for _ in range(20)]
    return lambda call: [Request(i, call, obs) for i, obs in enumerate(seen)]


@pytest.mark.parametrize("choose", ["medoid", "coherent"])
def test_a_row_of_a_rollout_does_not_depend_on_the_others(spread, requests, choose):
    spread.use(candidates=3, choose=choose)
    first, second = requests(0), requests(1)
    together, alone = (BatchedPolicy(spread, 1, seed=0) for _ in range(2))
    for part in (first, second):
        np.testing.assert_array_equal(
            together(part), np.concatenate([alone([request]) for request in part[::-1]])[::-1]
        )


def test_a_rollout_chooses_by_what_its_own_episode_had_left(spread, requests):
    spread.use(candidates=6, choose="coherent")
    first, second = requests(0), requests(1)
    going_on, fresh = (BatchedPolicy(spread, 1, seed=0) for _ in range(2))
    going_on(first)
    assert not np.array_equal(going_on(second), fresh(second))
    np.testing.assert_array_equal(going_on(requests(0)), fresh(requests(0)))  # at its first call nothing is left


# -- bundle, export, server -------------------------------------------------------------------------------------------


@pytest.fixture
def packed(spread, save_policy, config, tmp_path):
    """A bundle of the policy that chooses among five candidates."""
    from isd_core.training import checkpoint

    whole = config | {"objective": {"type": "eulerian"}, "data": "gone.hdf5"}
    run = save_policy(config=whole, **checkpoint.provenance())
    words = [f"checkpoint={run}", f"out={tmp_path / 'policy.isd'}", "candidates=5", "choose=coherent"]
    assert bundle.main.run(*words) == 0
    return tmp_path / "policy.isd"


def test_bundle_export_and_server_choose_alike(packed, observations, tmp_path):
    pytest.importorskip("onnxruntime")
    for name, batch in (("any", "null"), ("one", "1")):
        words = [f"bundle={packed}", f"out={tmp_path / name}", "formats=[onnx]", f"batch={batch}"]
        assert export.main.run(*words) == 0
    local = isd_policy.load(packed)
    assert (local.candidates, local.choose) == (5, "coherent")
    first, last = observations(2)
    expected = [local.act(first), local.act(last)]
    with running(local, read(packed).meta) as server, RemotePolicy(server.url) as remote:
        for policy in (isd_policy.load(tmp_path / "any"), isd_policy.load(tmp_path / "one"), remote):
            for obs, actions in zip((first, last), expected, strict=True):
                np.testing.assert_allclose(policy.act(obs), actions, atol=1e-4)


def test_what_is_left_is_checked_by_the_server(packed, observations):
    from isd_policy.deploy.client import ServerError, pack

    local = isd_policy.load(packed)
    row = local.row(observations(1)[0])
    with running(local, read(packed).meta) as server, RemotePolicy(server.url) as remote:
        for left in (np.zeros((3, 2)), np.full((3, 7), np.nan), "x"):
            with pytest.raises(ServerError, match="left"):
                remote.infer(pack(row | {"isd": {"left": left}}))
        assert remote.act(row).shape == (8, 7)


def test_a_bundle_with_a_choice_among_equals_is_not_written(save_policy, tmp_path, capsys, config):
    whole = config | {"objective": {"type": "eulerian"}, "data": "gone.hdf5"}
    words = [f"checkpoint={save_policy(config=whole)}", f"out={tmp_path / 'no.isd'}", "candidates=4"]
    assert bundle.main.run(*words, "initial_noise=zeros") == 2
    assert "the same chunk 4 times" in capsys.readouterr().err
    assert not (tmp_path / "no.isd").exists()
