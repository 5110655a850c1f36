"""Push-T's engine; recorded human episodes are replayed in test_recorded.py."""

import gymnasium
import numpy as np
import pytest

import isd_envs  # noqa: F401  (registers the environments)
from isd_core.support.errors import InputError
from isd_envs.engines.pusht.observations import KEYPOINTS, observe
from isd_envs.engines.pusht.spec import PushTSpec

pytest.importorskip("gym_pusht", reason="the pusht extra is not installed")

from isd_envs.engines.pusht.engine import PushTEngine


@pytest.fixture(scope="module")
def engine() -> PushTEngine:
    return PushTEngine(PushTSpec())


def tour(n=60, seed=0):
    """Places that the disc visits, through the block."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.uniform(100, 400, (n // 10, 2)), 10, axis=0)


def test_a_recorded_place_is_not_moved_by_the_reset(engine):
    start = {"task": "pusht", "state": [400.0, 60.0, 200.0, 250.0, 2.5]}
    observation = engine.reset_to(start)
    np.testing.assert_allclose(observation["block_pos"], [200, 250], atol=1e-6)
    np.testing.assert_allclose(observation["block_angle"], [np.sin(2.5), np.cos(2.5)], atol=1e-9)


def test_a_start_repeats_its_episode_bit_by_bit(engine):
    first = engine.reset(7)
    start = engine.get_start()
    before = engine.run(tour())
    engine.reset(8)
    again = engine.reset_to(start)
    after = engine.run(tour())
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert all(np.array_equal(before.observations[key], after.observations[key]) for key in first)
    assert not np.array_equal(before.observations["block_pos"][0], before.observations["block_pos"][-1])


def test_starts_are_those_of_gym_pusht():
    """The same seed draws the same block as the package's own reset, whose order of settings moves it."""
    engine = PushTEngine(PushTSpec())
    import gym_pusht.envs.pusht as package

    theirs = package.PushTEnv(obs_type="state")
    for seed in range(5):
        expected, _ = theirs.reset(seed=seed)
        found = engine.reset(seed)
        np.testing.assert_allclose([*found["agent_pos"], *found["block_pos"]], expected[:4], atol=1e-6)


def test_score_is_coverage_over_the_threshold(engine):
    """At the goal pose the block covers its place: success, score 1. Far from it: neither."""
    engine.reset_to({"task": "pusht", "state": [50.0, 450.0, 256.0, 256.0, np.pi / 4]})
    there = engine.run(np.array([[50.0, 450.0]]))
    engine.reset_to({"task": "pusht", "state": [50.0, 450.0, 420.0, 100.0, 0.0]})
    away = engine.run(np.array([[50.0, 450.0]]))
    assert there.success.all()
    assert there.best == 1.0
    assert not away.success.any()
    assert away.best == 0.0


def test_coverage_is_that_of_gym_pusht(engine):
    import gym_pusht.envs.pusht as package

    found = []
    for seed in range(20):
        engine.reset(seed)
        engine.world.block.angle += seed
        engine.world.block.position = (230 + 3 * seed, 280 - 2 * seed)
        assert engine.world._get_coverage() == pytest.approx(package.PushTEnv._get_coverage(engine.world), abs=1e-12)
        found.append(engine.world._get_coverage())
    assert max(found) > 0.3


def test_success_ends_a_chunk(engine):
    engine.reset_to({"task": "pusht", "state": [50.0, 450.0, 256.0, 256.0, np.pi / 4]})
    assert engine.run(np.tile([50.0, 450.0], (5, 1))).steps == 1


def test_a_nan_action_never_reaches_the_physics(engine):
    engine.reset(1)
    actions = tour()
    actions[3, 1] = np.nan
    chunk = engine.run(actions)
    assert chunk.steps == 3
    assert "NaN" in chunk.fault


def test_an_action_outside_is_clipped_to_the_world(engine):
    start = {"task": "pusht", "state": [256.0, 60.0, 256.0, 350.0, 0.0]}
    seen = []
    for action in ([256.0, -1000.0], [256.0, 0.0]):
        engine.reset_to(start)
        seen.append(engine.run(np.tile(action, (5, 1))).observations["agent_pos"])
    assert np.array_equal(*seen)


def test_keypoints_turn_and_move_with_the_block():
    still = observe(np.array([0.0, 0.0, 10.0, 20.0, 0.0]))["keypoints"].reshape(9, 2)
    turned = observe(np.array([0.0, 0.0, 10.0, 20.0, np.pi / 2]))["keypoints"].reshape(9, 2)
    np.testing.assert_allclose(still, KEYPOINTS + np.array([10, 20]))
    np.testing.assert_allclose(
        turned, np.stack([-KEYPOINTS[:, 1], KEYPOINTS[:, 0]], 1) + np.array([10, 20]), atol=1e-12
    )


@pytest.mark.parametrize(
    "start, match",
    [({"task": "lift"}, "task 'lift'"), ({"state": [1, 2, 3]}, "5"), ({"state": [np.nan] * 5}, "finite")],
)
def test_a_start_that_does_not_fit_is_an_input_error(engine, start, match):
    with pytest.raises(InputError, match=match):
        engine.reset_to(start)


def test_the_environment_passes_gymnasiums_checker():
    from gymnasium.utils.env_checker import check_env

    environment = gymnasium.make("isd/PushT-v0", disable_env_checker=True)
    check_env(environment.unwrapped, skip_render_check=True)


def test_the_picture_is_among_the_observations():
    environment = gymnasium.make("isd/PushT-v0", pictures=True, disable_env_checker=True)
    observation, _ = environment.reset(seed=3)
    assert observation["image"].shape == (96, 96, 3)
    assert environment.observation_space.contains(observation)


@pytest.mark.parametrize("settings", [{"mode": "fast"}, {"engine": "compiled"}, {"kp": 3}])
def test_settings_of_robosuite_are_refused(settings):
    with pytest.raises(InputError, match=r"env\.|no field"):
        gymnasium.make("isd/PushT-v0", **settings)
