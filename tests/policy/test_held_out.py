"""Held-out episodes judge a policy where there is no simulator."""

import re

import h5py
import numpy as np
import pytest
import torch

import isd_policy
from isd_core.support.errors import InputError
from isd_core.support.files import read_json
from isd_core.training import checkpoint
from isd_core.training.loggers import read_log
from isd_policy import commands, held_out
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons

SMALL = {"network.widths": [8, 16], "trainer": {"batch_size": 16, "device": "cpu", "checkpoint_every": 10}}


@pytest.fixture
def demos():
    """Twenty episodes of a rule; the two that are held out are twice as far."""
    rng = np.random.default_rng(0)
    state = rng.uniform(-1, 1, (20 * 12, 2))
    made = {"observations": {"state": state}, "actions": np.tanh(state), "episode_ends": range(12, 241, 12), "rate": 20}
    _, held = held_out.split(isd_policy.Demonstrations.from_arrays(**made), 0.1, seed=0)
    for episode in held:
        state[episode * 12 : episode * 12 + 12] *= 2
    return isd_policy.Demonstrations.from_arrays(**made | {"observations": {"state": state}}), held


def test_a_share_is_held_out_and_one_at_least(demos):
    data, _ = demos
    for share, count in ((0.1, 2), (0.01, 1), (0.99, 19), (0, 0)):
        trained, held = held_out.split(data, share, seed=3)
        assert len(held) == count and sorted([*trained, *held]) == list(range(20))
    assert held_out.split(data, 0.1, 3)[1].tolist() == held_out.split(data, 0.1, 3)[1].tolist()
    single = isd_policy.Demonstrations.from_arrays(
        observations={"x": np.zeros((4, 1))}, actions=np.zeros((4, 1)), episode_ends=[4]
    )
    assert held_out.split(single, 0.1, 0)[0].tolist() == [0]
    for bad in (1, -0.1, "half", True):
        with pytest.raises(InputError, match=r"dataset\.held_out="):
            held_out.split(data, bad, 0)


def test_windows_of_some_episodes_are_theirs(demonstrations):
    data = demonstrations([5, 20, 3, 18])
    whole, some = (ActionChunks(data, Horizons(), None, e) for e in (None, np.array([1, 3])))
    own = [i for i in range(len(whole)) if whole.batch(torch.tensor([i]))["action"][0, 0, 0] // 1000 in (1, 3)]
    assert len(some) == len(own)
    rows = torch.arange(len(some))
    assert torch.equal(some.batch(rows)["action"], whole.batch(torch.tensor(own))["action"])


def test_a_training_logs_and_chooses_by_them(demos, tmp_path, capsys):
    data, _ = demos
    policy = isd_policy.train(data, network="unet1d_small", steps=40, run_dir=tmp_path / "run", **SMALL)
    assert policy.normaliser.observation.high.max() <= 1  # they have no part in the statistics
    printed = capsys.readouterr().out
    assert "2 episodes are held out" in printed
    results = {path.stem: read_json(path) for path in (tmp_path / "run" / "evaluations").glob("*.json")}
    assert sorted(results) == [f"step_{step:08d}" for step in (10, 20, 30, 40)]
    errors = {name: content["action_error"]["1"]["mean"] for name, content in results.items()}
    best = min(errors, key=errors.get)
    assert re.findall(r"best so far (\w+)", printed)[-1] == best
    assert best in {place.name for place in checkpoint.steps(tmp_path / "run")}
    told = [record for record in read_log(tmp_path / "run" / "log.jsonl") if "evaluated_step" in record]
    assert [record["evaluated_step"] for record in told] == [10, 20, 30, 40]
    assert all(record["validation_loss"] > 0 and record["action_error_1"] > 0 for record in told)


def test_the_error_is_that_of_the_executed_actions(demos, tmp_path):
    """Recomputed from single calls."""
    data, held = demos
    run_dir = tmp_path / "run"
    isd_policy.train(data, network="unet1d_small", steps=10, run_dir=run_dir, **SMALL)
    policy = isd_policy.load(run_dir / "checkpoints" / "step_00000010")
    windows = ActionChunks(data, policy.horizons, None, held)
    low, high = policy.normaliser.limits.low.numpy(), policy.normaliser.limits.high.numpy()
    errors = []
    for i in range(len(windows)):
        batch = windows.batch(torch.tensor([i]))
        noise = torch.from_numpy(policy.noise("gaussian", [(0, i)]))
        planned = policy.plan(batch["obs"], noise, 1)[0, :8].numpy()
        errors.append(np.abs(planned - batch["action"][0, 1:9].numpy()) / (high - low))
    found = read_json(run_dir / "evaluations" / "step_00000010.json")["action_error"]["1"]
    np.testing.assert_allclose(found["by_number"], np.mean(errors, axis=(0, 1)), rtol=1e-4)


def test_the_command_names_the_best_checkpoint_and_the_bundle_says_units_and_names(demos, tmp_path, capsys):
    data, _ = demos
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        file["state"], file["act"] = data.observations["state"], data.actions
        file["episode_ends"] = np.cumsum(data.lengths)
    words = ["task=own", f"data={tmp_path / 'data.hdf5'}", "dataset.observations={state: state}", "dataset.actions=act"]
    words += ["dataset.rate=20", "network=unet1d_small"]
    words += ["network.widths=[8,16]", "trainer.batch_size=16", "trainer.device=cpu", "trainer.checkpoint_every=10"]
    units = "dataset.units={state: rad, actions: rad/s}"
    assert commands.train.run(*words, units, "trainer.steps=20", f"run_dir={tmp_path / 'run'}") == 0
    found = re.search(r"Next: python -m isd_policy.deploy.bundle checkpoint=(\S+) out=", capsys.readouterr().out)
    assert "checkpoints/step_000000" in found[1]
    bundle = isd_policy.load(found[1]).save(tmp_path / "policy.isd")
    card = read_json(bundle / "bundle.json")
    assert card["control_rate"] == 20
    assert card["observations"]["state"]["unit"] == "rad"
    assert card["actions"]["units"] == ["rad/s", "rad/s"] and len(card["actions"]["low"]) == 2
    assert (
        commands.train.run(*words, "trainer.steps=1", "dataset.units={joints: rad}", f"run_dir={tmp_path / 'b'}") == 2
    )
    assert "a unit of joints, which is not there; there is: state, actions" in capsys.readouterr().err
