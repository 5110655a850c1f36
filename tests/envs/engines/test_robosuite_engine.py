import json

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_envs.engines.engine import NON_FINITE
from isd_envs.engines.robosuite_engine import RobosuiteEngine


def actions(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 7))


def test_a_seed_decides_the_start(lift: RobosuiteEngine) -> None:
    first, start = lift.reset(5), lift.get_start()
    lift.run(actions(2))
    again = lift.reset(5)
    assert lift.get_start() == start
    assert all(np.array_equal(first[key], again[key]) for key in first)
    lift.reset(6)
    assert lift.get_start() != start


def test_a_stored_start_continues_bit_equal_to_the_seed(lift: RobosuiteEngine) -> None:
    lift.reset(5)
    start = json.loads(json.dumps(lift.get_start()))
    expected = lift.run(actions(20), until_success=False).observations
    lift.reset(6)
    lift.reset_to(start)
    found = lift.run(actions(20), until_success=False).observations
    assert all(np.array_equal(expected[key], found[key]) for key in expected)


def test_the_cube_of_a_start_is_restored(lift: RobosuiteEngine) -> None:
    lift.reset(5)
    start = lift.get_start()
    mass = lift.model.body("cube_main").mass.copy()
    lift.reset(6)
    lift.reset_to(start)
    assert lift.get_start()["cube_size"] == start["cube_size"]
    assert np.array_equal(lift.model.body("cube_main").mass, mass)


def test_a_start_of_another_task_is_refused(lift: RobosuiteEngine) -> None:
    with pytest.raises(InputError, match="'can'"):
        lift.reset_to({"task": "can", "qpos": [], "qvel": []})


def test_a_start_of_the_wrong_length_is_refused(lift: RobosuiteEngine) -> None:
    lift.reset(5)
    with pytest.raises(InputError, match="qpos"):
        lift.reset_to(lift.get_start() | {"qpos": [0.0]})


def test_nan_ends_the_chunk_before_it_reaches_the_simulation(lift: RobosuiteEngine) -> None:
    lift.reset(5)
    chunk_of_actions = actions(4)
    chunk_of_actions[2, 3] = np.nan
    chunk = lift.run(chunk_of_actions)
    assert (chunk.steps, chunk.fault) == (2, NON_FINITE)
    assert np.isfinite(lift.state()).all()


def test_actions_beyond_one_are_clipped(lift: RobosuiteEngine) -> None:
    lift.reset(5)
    lift.run(np.full((3, 7), 1.0), until_success=False)
    expected = lift.state()
    lift.reset(5)
    lift.run(np.full((3, 7), 7.0), until_success=False)
    assert np.array_equal(lift.state(), expected)


def test_a_wrong_action_size_is_refused(lift: RobosuiteEngine) -> None:
    with pytest.raises(ValueError, match=r"expected \[n, 7\]"):
        lift.run(np.zeros((2, 6)))
