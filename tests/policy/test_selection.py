import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from isd_core.sampling import check_nfe
from isd_core.support.errors import InputError
from isd_core.support.files import read_json, write_json
from isd_core.training import checkpoint
from isd_core.training.loggers import read_log
from isd_envs.engines.slot import EnvSlot
from isd_policy import commands
from isd_policy.selection import Selection

FIELDS = {"every": 2, "nfe": [1, 2], "episodes": 1, "workers": 1, "keep": 2}


def selection(run_dir, **fields):
    config = {"evaluation": FIELDS | fields, "trainer": {"checkpoint_every": 2}, "run_dir": str(run_dir), "seed": 0}
    return Selection.of(config, check_nfe)


def evaluated(run_dir, scores):
    """Result files of evaluated steps."""
    for step, score in scores.items():
        content = {"checkpoint": {"step": step}, "score": {"1": {"mean": score}}}
        write_json(run_dir / "evaluations" / f"step_{step:08d}.json", content)


def test_the_best_checkpoints_are_protected_and_of_equals_the_later(tmp_path):
    evaluated(tmp_path, {2: 0.5, 4: 0.9, 6: 0.5, 8: 0.1})
    assert [place.name for place in selection(tmp_path).protected()] == ["step_00000004", "step_00000006"]


def test_nothing_is_evaluated_unless_asked_for(tmp_path):
    choice = selection(tmp_path, every=0)
    choice(SimpleNamespace(step=2, cfg=SimpleNamespace(steps=2)))
    assert choice.protected() == []


@pytest.mark.parametrize(
    "fields, match",
    [({"every": 3}, "multiple of trainer.checkpoint_every"), ({"nfe": [0]}, "nfe=0"), ({"episodes": 0}, "episodes")],
)
def test_bad_fields_are_named(tmp_path, fields, match):
    with pytest.raises(InputError, match=match):
        selection(tmp_path, **fields)


@pytest.mark.sim
@pytest.mark.slow
def test_checkpoints_are_evaluated_while_the_training_goes_on(demo_file, tmp_path, capfd):
    run_dir = tmp_path / "it's my  run, (1) [x]={y} ${z}"
    words = ["network.widths=[8,16]", "network.embedding=8", "network.frequency_dim=8", "network.hidden=8"]
    words += ["trainer.batch_size=4", "trainer.device=cpu", "trainer.steps=4", "trainer.checkpoint_every=2"]
    words += ["trainer.keep_checkpoints=1", "evaluation.every=2", "evaluation.episodes=1", "evaluation.keep=1"]
    words += [f"data={demo_file}", f"run_dir={run_dir}"]
    assert commands.train.run(*words) == 0
    results = sorted((run_dir / "evaluations").glob("*.json"))
    assert [path.stem for path in results] == ["step_00000002", "step_00000004"]
    assert read_json(results[0])["protocol"]["seed_split"] == "selection"
    assert all(path.exists() for path in checkpoint.steps(run_dir))
    told = [record["evaluated_step"] for record in read_log(run_dir / "log.jsonl") if "evaluated_step" in record]
    assert told == [2, 4]
    assert "best so far step_00000004" in capfd.readouterr().out


def test_an_evaluation_that_fails_is_told_and_does_not_end_the_training(tmp_path, capfd):
    """The checkpoint is not there, so the command ends with 2."""
    trainer = SimpleNamespace(step=2, cfg=SimpleNamespace(steps=2), log=lambda record: None)
    choice = selection(tmp_path)
    choice(trainer)
    assert [place.name for place in choice.protected()] == ["step_00000002"]
    choice.finish(trainer)
    assert "failed with exit code 2" in capfd.readouterr().out
    assert choice.protected() == []
    assert Path(tmp_path / "evaluations" / "step_00000002.log").read_text().startswith("error: ")


SMALL = ["network.widths=[8,16]", "network.embedding=8", "network.frequency_dim=8", "network.hidden=8"]
SMALL += ["trainer.batch_size=4", "trainer.device=cpu", "trainer.steps=2", "trainer.checkpoint_every=2"]


@pytest.fixture
def without_simulator(monkeypatch):
    """robosuite is not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "robosuite" else found(name))

    def absent(self, start):
        raise InputError("The package robosuite is not installed, and simulation needs it.")

    monkeypatch.setattr(EnvSlot, "reset", absent)


def test_an_environment_that_cannot_be_made_is_told_of_before_training(without_simulator, demo_file, tmp_path, capsys):
    words = [*SMALL, f"data={demo_file}", f"run_dir={tmp_path / 'run'}"]
    assert commands.train.run(*words, "evaluation.every=2") == 2
    said = capsys.readouterr().err
    assert "evaluation.every=2" in said and "robosuite is not installed" in said and "evaluation.every=0" in said
    assert not (tmp_path / "run").exists()


def test_without_the_simulator_it_is_trained_and_said_what_was_not_compared(
    without_simulator, demo_file, tmp_path, capsys
):
    with h5py.File(demo_file, "r+") as file:
        for demo in file["data"].values():
            demo["states"] = np.zeros((len(demo["actions"]), 3))
    assert commands.train.run(*SMALL, f"data={demo_file}", f"run_dir={tmp_path / 'run'}") == 0
    assert "not compared with the simulator's: robosuite is not installed" in capsys.readouterr().err


def test_a_task_of_ones_own_has_no_rollouts_to_ask_for(demo_file, tmp_path, capsys):
    """Held-out episodes judge it; without them nothing does."""
    with h5py.File(demo_file, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "OurRobot", "type": "function"})
    words = [*SMALL, "task=own", "task.observation_keys=[object]", f"data={demo_file}", f"run_dir={tmp_path / 'run'}"]
    assert commands.train.run(*words, "evaluation.every=2", "dataset.held_out=0") == 2
    assert "evaluation.every=2, but no episode is held out" in capsys.readouterr().err
    assert commands.train.run(*words, "evaluation.every=2") == 0
    assert "held-out episodes: loss" in capsys.readouterr().out
