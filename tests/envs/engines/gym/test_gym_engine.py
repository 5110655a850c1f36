import numpy as np
import pytest
import toy_environments as toys

from isd_core.support.errors import InputError
from isd_envs.engines.engine import NON_FINITE
from isd_envs.engines.gym.engine import NOT_FINITE, GymEngine
from isd_envs.engines.gym.spec import GymSpec, spec_of_factory
from isd_envs.engines.gym.success import SuccessRule
from isd_envs.engines.slot import EnvSlot
from isd_envs.gym_env import SimulatedTask


@pytest.fixture
def reach() -> GymEngine:
    return GymEngine(GymSpec("toys/Reach-v0"))


def solve(engine: GymEngine, seed: int, until_success: bool = True) -> list:
    state = engine.reset(seed)["state"]
    chunks = []
    while len(chunks) < toys.LIMIT:
        chunks.append(engine.run(toys.towards_goal(state)[None], until_success))
        state = chunks[-1].observations["state"][-1]
        if chunks[-1].success.any():
            break
    return chunks


def test_a_start_is_a_seed_and_can_be_repeated(reach) -> None:
    first = reach.reset(7)
    start = reach.get_start()
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    after = reach.run(actions)
    assert start == {"task": "toys/Reach-v0", "seed": 7}
    np.testing.assert_array_equal(reach.reset_to(start)["state"], first["state"])
    np.testing.assert_array_equal(reach.run(actions).observations["state"], after.observations["state"])
    assert not np.array_equal(reach.reset(8)["state"], first["state"])


def test_seeds_of_63_bits_are_folded_to_what_every_generator_takes(reach) -> None:
    first = reach.reset(2**40 + 5)
    assert reach.get_start()["seed"] == 5
    np.testing.assert_array_equal(reach.reset(5)["state"], first["state"])


def test_a_chunk_stops_at_the_first_success(reach) -> None:
    chunks = solve(reach, 1)
    assert chunks[-1].success.tolist() == [True]
    assert chunks[-1].ended
    assert chunks[-1].best == 1.0


def test_observations_are_float64_and_those_after_each_action(reach) -> None:
    state = reach.reset(3)["state"]
    chunk = reach.run(np.full((4, 2), 0.25))
    assert chunk.observations["state"].shape == (4, 4)
    assert chunk.observations["state"].dtype == np.float64
    np.testing.assert_allclose(
        chunk.observations["state"][:, :2], state[:2] + 0.25 * np.arange(1, 5)[:, None], atol=1e-5
    )


def test_actions_beyond_the_box_are_clipped(reach) -> None:
    state = reach.reset(3)["state"]
    chunk = reach.run(np.array([[5.0, -9.0]]))
    np.testing.assert_allclose(chunk.observations["state"][0, :2], state[:2] + np.array([1, -1]), atol=1e-5)


def test_a_nan_in_an_action_ends_the_episode_before_it_reaches_the_environment(reach) -> None:
    reach.reset(3)
    chunk = reach.run(np.array([[0.1, 0.1], [np.nan, 0.0], [0.1, 0.1]]))
    assert (chunk.steps, chunk.fault) == (1, NON_FINITE)


def test_an_observation_that_is_no_number_is_a_fault() -> None:
    engine = GymEngine(GymSpec("toys/Diverging-v0"))
    engine.reset(1)
    chunk = engine.run(np.zeros((5, 2)))
    assert (chunk.steps, chunk.fault) == (2, NOT_FINITE)


def test_terminated_without_success_is_a_failure_and_no_fault() -> None:
    engine = GymEngine(GymSpec("toys/Reach-v0", {"border": 6.0, "radius": 0.0}))
    engine.reset(1)
    chunk = engine.run(np.ones((20, 2)))
    assert chunk.ended
    assert chunk.steps < 20
    assert (chunk.fault, chunk.success.any()) == (None, np.False_)


def test_a_score_is_the_entry_of_info_that_is_named() -> None:
    engine = GymEngine(GymSpec("toys/Reach-v0", score="closeness"))
    state = engine.reset(1)["state"]
    chunk = engine.run(toys.towards_goal(state)[None])
    after = chunk.observations["state"][0]
    assert chunk.score == pytest.approx([np.exp(-np.linalg.norm(after[:2] - after[2:]))])


def test_success_by_a_threshold_of_the_reward_and_by_a_function() -> None:
    by_reward = GymEngine(GymSpec("toys/Silent-v0", success=SuccessRule(reward=-0.5)))
    by_function = GymEngine(
        spec_of_factory(toys.Silent, success=lambda observation, reward, info: reward >= -0.5 and info["distance"] == 1)
    )
    assert [len(solve(engine, 4)) for engine in (by_reward, by_function)] == [
        len(solve(GymEngine(GymSpec("toy_reach")), 4))
    ] * 2


def test_the_picture_is_resized(reach) -> None:
    reach.reset(1)
    picture = reach.frame(40, 32, "any")
    assert (picture.shape, picture.dtype, picture.any()) == ((32, 40, 3), np.uint8, np.True_)
    np.testing.assert_array_equal(reach.frame(16, 16, ""), reach.env.render())


def test_an_environment_that_does_not_draw_says_so() -> None:
    engine = GymEngine(spec_of_factory(lambda: toys.Reach(render_mode=None)))
    engine.reset(1)
    with pytest.raises(InputError, match="its render_mode is None, and rgb_array is needed"):
        engine.frame(16, 16, "")


def test_nested_observations_and_pictures_by_their_names_and_by_a_mapping() -> None:
    own = GymEngine(GymSpec("toys/PictureReach-v0")).reset(1)
    mapped = GymEngine(GymSpec("toys/PictureReach-v0", observations={"eye": "camera", "xy": "robot/point"})).reset(1)
    assert {key: (value.shape, value.dtype.name) for key, value in own.items()} == {
        "camera": ((16, 16, 3), "uint8"),
        "robot_point": ((2,), "float64"),
    }
    np.testing.assert_array_equal(mapped["eye"], own["camera"])
    np.testing.assert_array_equal(mapped["xy"], own["robot_point"])


def test_a_worker_sends_the_last_pictures_alone() -> None:
    slot = EnvSlot(GymSpec("toys/PictureReach-v0"))
    slot.reset(1)
    chunk = slot.run_chunk(np.zeros((6, 2)), drawn=2).chunk
    assert (len(chunk.observations["camera"]), len(chunk.observations["robot_point"])) == (2, 6)


def test_the_control_loops_environment_takes_it_too() -> None:
    env = SimulatedTask(**GymSpec("toys/Reach-v0", {"border": 6.0}).to_dict())
    env.reset(seed=1)
    assert env.observation_space["state"].shape == (4,)
    for _ in range(20):
        *_, terminated, _, info = env.step(np.ones(2))
        if terminated:
            break
    assert terminated
    assert not info["success"]


def test_a_start_of_another_environment_is_refused(reach) -> None:
    with pytest.raises(InputError, match="belongs to 'lift', but the environment is 'toys/Reach-v0'"):
        reach.reset_to({"task": "lift", "seed": 1})
    with pytest.raises(InputError, match="seed is None"):
        reach.reset_to({"task": "toys/Reach-v0"})
