"""A policy in an environment of one's own, from Python."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import isd_policy
from isd_core.support.errors import InputError


class Reach(gymnasium.Env):
    """A point that has to come to the middle of the plane."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.place.copy(), {}

    def step(self, action):
        self.place = np.clip(self.place + 0.2 * action, -1, 1).astype(np.float32)
        return self.place.copy(), 0.0, False, False, {"success": bool(np.linalg.norm(self.place) < 0.15)}


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy trained for two steps on a controller's trajectories."""
    rng = np.random.default_rng(0)
    states, actions = [], []
    for _ in range(6):
        place = rng.uniform(-1, 1, 2)
        for _ in range(20):
            states.append(place)
            actions.append(np.clip(-place, -1, 1))
            place = place + 0.2 * actions[-1]
    demos = isd_policy.Demonstrations.from_arrays(
        observations={"state": np.array(states)}, actions=np.array(actions), episode_ends=range(20, 121, 20), rate=10
    )
    settings = {"network.widths": [8, 16], "trainer": {"batch_size": 8, "device": "cpu"}}
    folder = tmp_path_factory.mktemp("reach") / "run"
    return isd_policy.train(demos, network="unet1d_small", steps=2, run_dir=folder, **settings)


def test_it_is_rolled_out_from_seeded_starts_whatever_runs_at_once(policy):
    one, other = (
        isd_policy.evaluate(policy, env=Reach, nfe=1, episodes=5, seed=3, max_steps=20, live=live) for live in (1, 5)
    )
    assert one.to_dict()["results"]["1"]["episodes"] == other.to_dict()["results"]["1"]["episodes"]
    assert one.to_dict()["protocol"]["max_steps"] == 20 and "of 5 starts succeed" in str(one)


def test_an_environment_without_a_cap_asks_for_one(policy):
    with pytest.raises(InputError, match="max_steps"):
        isd_policy.evaluate(policy, env=Reach, nfe=1, episodes=1)


def test_an_environment_of_other_spaces_is_refused_before_the_first_rollout(policy):
    with pytest.raises(InputError, match="predicts 2 numbers an action"):
        isd_policy.evaluate(policy, env=lambda: gymnasium.make("Pendulum-v1"), nfe=1, episodes=1, max_steps=5)


def test_actions_that_are_not_finite_are_faults_of_their_episodes_and_counted(policy):
    broken = copy.deepcopy(policy)
    with torch.no_grad():
        for parameter in broken.net.parameters():
            parameter.fill_(torch.nan)
    result = isd_policy.evaluate(broken, env=Reach, nfe=1, episodes=3, max_steps=20)
    run = result.to_dict()["results"]["1"]
    assert run["faults"] == {"an action holds NaN or infinity": 3}
    assert [(episode["success"], episode["steps"]) for episode in run["episodes"]] == [(False, 0)] * 3
    assert "3 ended by a fault (an action holds NaN or infinity)" in str(result)


def test_an_evaluation_without_faults_does_not_speak_of_them(policy):
    result = isd_policy.evaluate(policy, env=Reach, nfe=1, episodes=2, max_steps=5)
    assert result.to_dict()["results"]["1"]["faults"] == {} and "fault" not in str(result)
