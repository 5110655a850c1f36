"""The compiled engine against robosuite's own step: exact mode is bit-equal, on every task and setting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isd_envs.engines.compiled import parity
from isd_envs.engines.compiled.engine import CompiledEngine
from isd_envs.engines.compiled.parity import compare, random_actions
from isd_envs.engines.robosuite_engine import RobosuiteEngine
from isd_envs.spec import EnvSpec
from isd_envs.tasks import ROBOSUITE_TASKS

STEPS = {"lift": 50, "can": 50, "square": 50, "tool_hang": 10, "transport": 20}
TOLERANCE = parity.TOLERANCE["exact"]
"""For machines on which robosuite's BLAS and numba's differ."""


class Pair:
    """Both engines of one spec."""

    def __init__(self, spec: EnvSpec) -> None:
        self.compiled = CompiledEngine(spec)
        self.reference = RobosuiteEngine(replace(spec, engine="robosuite"))


@pytest.fixture(scope="module", params=list(ROBOSUITE_TASKS))
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(EnvSpec(task=request.param))


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_random_actions_lead_to_the_same_states_and_observations(pair: Pair, seed: int) -> None:
    n = STEPS[pair.compiled.spec.task]
    observation = pair.reference.reset(seed)
    actions = random_actions(pair.compiled.spec, observation, n, np.random.default_rng(seed))
    verdict = compare(pair.compiled, pair.reference, seed, actions)
    assert verdict.starts_equal
    assert verdict.success_equal
    assert verdict.equal or verdict.difference < TOLERANCE


def test_a_reset_makes_the_same_model(pair: Pair) -> None:
    pair.reference.reset(21)
    pair.compiled.reset(21)
    ours, theirs = pair.compiled.model, pair.reference.model
    for name in dir(ours):
        value = getattr(ours, name) if not name.startswith("_") else None
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            equal_nan = value.dtype.kind == "f"
            assert np.array_equal(value, getattr(theirs, name), equal_nan=equal_nan), name


def test_a_reset_leaves_the_same_random_stream(pair: Pair) -> None:
    pair.reference.reset(22)
    pair.compiled.reset(22)
    ours, theirs = pair.compiled.template.environment, pair.reference.environment
    assert ours.rng.bit_generator.state == theirs.rng.bit_generator.state


def test_a_stored_start_of_one_engine_serves_the_other(pair: Pair) -> None:
    pair.compiled.reset(23)
    start = pair.compiled.get_start()
    pair.compiled.reset(24)
    actions = random_actions(pair.compiled.spec, pair.compiled.reset(24), 5, np.random.default_rng(0))
    first, second = pair.compiled.reset_to(start), pair.reference.reset_to(start)
    assert all(np.array_equal(first[key], second[key]) for key in first)
    ours, theirs = pair.compiled.run(actions, False), pair.reference.run(actions, False)
    differences = [np.abs(ours.observations[key] - theirs.observations[key]).max() for key in first]
    assert max(differences) < TOLERANCE


@pytest.mark.parametrize(
    "fields",
    [
        {"frame": "world"},
        {"action_mode": "absolute"},
        {"action_mode": "absolute", "frame": "world", "lite_physics": False},
        {"lite_physics": False},
        {"kp": 200.0, "damping_ratio": 0.8, "position_scale": 0.1, "rotation_scale": 0.3, "control_freq": 10},
    ],
    ids=lambda fields: ",".join(f"{key}={value}" for key, value in fields.items()),
)
def test_every_setting_is_bit_equal(fields: dict[str, object]) -> None:
    pair = Pair(EnvSpec.from_dict({"task": "lift"} | fields))
    verdict = compare(pair.compiled, pair.reference, seed=31)
    assert verdict.starts_equal
    assert verdict.equal or verdict.difference < TOLERANCE


@pytest.mark.parametrize(
    "fields", [{}, {"action_mode": "absolute", "frame": "world"}, {"task": "transport", "frame": "world"}]
)
def test_fast_mode_differs_by_rounding(fields: dict[str, str]) -> None:
    pair = Pair(EnvSpec.from_dict({"mode": "fast"} | fields))
    verdict = compare(pair.compiled, pair.reference, seed=41)
    assert verdict.starts_equal
    assert verdict.difference < 1e-6
    assert not verdict.equal
