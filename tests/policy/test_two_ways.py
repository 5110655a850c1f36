"""A robot that goes either of two ways: a prefix decides which, a medoid stays on one, and their mean is on none."""

import numpy as np
import pytest

import isd_policy

WAYS = {"unet1d": {"widths": [32, 64], "embedding": 16, "hidden": 32}, "dit1d": {"width": 32, "depth": 2, "heads": 2}}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=WAYS)
def policy(request, tmp_path_factory):
    """Trained on episodes that go by +.8 or by -.8 at every step, with an observation that does not tell which."""
    rng = np.random.default_rng(0)
    way = np.repeat(rng.choice([-0.8, 0.8], 40), 30)[:, None]
    demos = isd_policy.Demonstrations.from_arrays(
        observations={"state": rng.uniform(-1, 1, (1200, 1))},
        actions=way + rng.uniform(-0.2, 0.2, (1200, 1)) * [[1.0]],
        episode_ends=range(30, 1201, 30),
    )
    return isd_policy.train(
        demos,
        network=isd_policy.preset("network", request.param)(**WAYS[request.param]),
        steps=250,
        run_dir=tmp_path_factory.mktemp("ways") / "run",
        delay=isd_policy.preset("delay", "uniform")(most=4),
        trainer=isd_policy.preset("trainer", "demo")(batch_size=64, **{"optimizer.lr": 3e-3}),
    )


OBS = {"state": np.zeros(1)}


def ways(policy, count, **given):
    """The mean action of each of `count` chunks."""
    policy.reset()
    return np.array([policy.act(OBS, **given).mean() for _ in range(count)])


def test_without_a_prefix_it_goes_both_ways_and_with_one_it_goes_on(policy):
    free = ways(policy, 40)
    assert (free > 0.3).sum() > 5 and (free < -0.3).sum() > 5
    for way in (0.8, -0.8):
        told = ways(policy, 40, prefix=np.full((3, 1), way))
        assert (np.sign(told) == np.sign(way)).mean() > 0.9
        assert np.abs(told - way).mean() < 0.35


def test_the_chosen_one_of_several_is_on_a_way_where_their_mean_is_not(policy):
    single = ways(policy, 64)
    policy.use(candidates=8)
    try:
        chosen = ways(policy, 16)
    finally:
        policy.use(candidates=1)
    mean = single.reshape(8, 8).mean(axis=1)
    off = lambda values: np.abs(np.abs(values) - 0.8).mean()  # noqa: E731
    assert off(chosen) < 0.7 * off(mean)


def test_the_most_coherent_of_several_keeps_to_the_way_of_the_last_chunk(policy):
    def changes():
        policy.reset()
        taken = []
        for _ in range(12):
            taken.append(np.sign(policy.act(OBS).mean()))
            for _ in range(policy.horizons.execution - 1):
                policy.observe(OBS)
        return np.count_nonzero(np.diff(taken))

    alone = changes()
    policy.use(candidates=8, choose="coherent")
    try:
        assert changes() <= 1 < alone
    finally:
        policy.use(candidates=1, choose="medoid")
