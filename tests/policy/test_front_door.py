"""Policies from Python: `read`, `train`, `evaluate`, `load`."""

import numpy as np
import pytest

import isd_core
import isd_policy
from isd_core.support.errors import InputError

SMALL = {"network.widths": [8, 16], "trainer": {"batch_size": 8, "device": "cpu"}}


@pytest.fixture
def arrays():
    """Six episodes of ten steps: two observations and an action that follows them."""
    state = np.random.default_rng(0).uniform(-1, 1, (60, 3))
    return {
        "observations": {"state": state, "gripper": state[:, :1] > 0},
        "actions": np.tanh(state[:, :2]),
        "episode_ends": range(10, 61, 10),
        "rate": 20,
    }


def test_a_policy_is_trained_on_arrays_saved_loaded_and_acts(arrays, tmp_path):
    demos = isd_policy.Demonstrations.from_arrays(**arrays)
    policy = isd_policy.train(demos, network="unet1d_small", steps=3, run_dir=tmp_path / "run", **SMALL)
    path = policy.save(tmp_path / "policy.isd")
    again = isd_policy.load(path)
    obs = {"state": np.zeros(3), "gripper": np.ones(1)}
    policy.reset(seed=3)
    again.reset(seed=3)
    chunk = policy.act(obs)
    assert chunk.shape == (8, 2) and np.isfinite(chunk).all()
    np.testing.assert_array_equal(again.act(obs), chunk)


def test_the_same_call_resumes(arrays, tmp_path, capsys):
    demos = isd_policy.Demonstrations.from_arrays(**arrays)
    call = {"network": "unet1d_small", "run_dir": tmp_path / "run", **SMALL}
    isd_policy.train(demos, steps=2, **call)
    resumed = isd_policy.train(demos, steps=4, **call, **{"trainer.schedule": "cosine"})
    assert "resuming at step 2 of 4" in capsys.readouterr().out
    assert resumed.source.step == 4


def test_own_data_has_no_environment(arrays, tmp_path):
    demos = isd_policy.Demonstrations.from_arrays(**arrays)
    policy = isd_policy.train(demos, network="unet1d_small", steps=2, run_dir=tmp_path / "run", **SMALL)
    with pytest.raises(InputError, match="name no environment"):
        isd_policy.evaluate(policy, nfe=1, episodes=1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"actions": np.zeros((59, 2))}, "has 60 steps, actions has 59|rise to 59"),
        ({"actions": np.zeros(60)}, r"actions has shape \[60\]"),
        ({"actions": np.full((60, 2), np.nan)}, "not finite, first in step 0"),
        ({"episode_ends": [10, 10, 60]}, "episode_ends="),
        ({"episode_ends": [10, 20]}, "rise to 60"),
        ({"episode_ends": [0.5, 60]}, "episode_ends="),
        ({"observations": {}}, "observations is empty"),
        ({"observations": {"cam": np.zeros((60, 4, 4, 3))}}, "expected pictures as bytes"),
        ({"observations": {"state": np.zeros((60, 2, 2))}}, r"\[60, 2, 2\]; expected numbers"),
        ({"observations": {"state": ["a"] * 60}}, "holds no numbers"),
        ({"rate": 0}, "rate=0"),
        ({"names": ["one"]}, "names has 1 entries for 6 episodes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(arrays, change, message):
    with pytest.raises(InputError, match=message):
        isd_policy.Demonstrations.from_arrays(**arrays | change)


def test_what_the_config_does_not_have_is_refused(arrays, tmp_path):
    demos = isd_policy.Demonstrations.from_arrays(**arrays)
    with pytest.raises(InputError, match="`stepz`"):
        isd_policy.train(demos, run_dir=tmp_path, stepz=3)
    with pytest.raises(InputError, match="no objective called `nothing`"):
        isd_policy.train(demos, run_dir=tmp_path, objective="nothing")
    with pytest.raises(InputError, match="expected a choice of network, found the objective `isd`"):
        isd_policy.train(demos, run_dir=tmp_path, network=isd_core.isd())
    assert not list(tmp_path.iterdir())


def test_a_file_is_read_by_its_own_task(demo_file):
    demos = isd_policy.read(demo_file)
    assert demos.env_args["env_name"] == "Lift" and len(demos) > 0
    some = isd_policy.read(demo_file, observation_keys=["object"])
    assert list(some.observations) == ["object"]


@pytest.mark.sim
def test_a_policy_in_memory_is_evaluated_as_its_run_is(demo_file, tmp_path):
    policy = isd_policy.train(demo_file, network="unet1d_small", steps=2, run_dir=tmp_path / "run", **SMALL)
    sampler = policy.sampler
    result = isd_policy.evaluate(policy, task="lift", nfe=[1], episodes=2, seed=7, max_steps=8)
    again = isd_policy.evaluate(tmp_path / "run", nfe=1, episodes=2, seed=7, max_steps=8)
    assert policy.sampler is sampler
    assert result.to_dict()["results"]["1"]["episodes"] == again.to_dict()["results"]["1"]["episodes"]
    assert "of 2 starts succeed" in str(result) and result.complete and 0 <= result.success_rate(1) <= 1
    saved = result.save(tmp_path / "result.json")
    assert result.compare(saved).n == 2
    with pytest.raises(InputError, match="not for task=can"):
        isd_policy.evaluate(policy, task="can", episodes=1)
