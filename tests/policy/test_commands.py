import json
import shlex

import h5py
import numpy as np
import pytest

import isd_policy
from isd_core.support.files import read_json
from isd_core.training import checkpoint
from isd_core.training.loggers import read_log
from isd_policy import commands, driving, evaluation

TINY = (
    "network.widths=[8,16]",
    "network.embedding=8",
    "network.frequency_dim=8",
    "network.hidden=8",
    "trainer.batch_size=4",
    "trainer.warmup=1",
    "trainer.device=cpu",
)


def train_command(*words):
    return commands.train.run(*TINY, *words)


def evaluate_command(*words):
    return commands.evaluate.run(*words)


def control_command(*words):
    return commands.run.run(*words)


def refused(capsys, code, message):
    """Exit code 2 and one paragraph on standard error, notes apart."""
    text = capsys.readouterr().err.strip()
    assert code == 2, text
    (error,) = (line for line in text.splitlines() if not line.startswith("Note: "))
    assert message in error


def test_training_leaves_a_policy_and_a_log(demo_file, tmp_path, sizes):
    run_dir = tmp_path / "run"
    assert train_command(f"data={demo_file}", f"run_dir={run_dir}", "trainer.steps=2") == 0
    assert isd_policy.load(run_dir).schema.shapes == {key: (size,) for key, size in sizes.items()}
    assert read_log(run_dir / "log.jsonl")[-1]["step"] == 2


def test_checkpoint_says_what_the_data_decided(demo_file, tmp_path, sizes):
    train_command(f"data={demo_file}", f"run_dir={tmp_path / 'run'}", "trainer.steps=1")
    schema = checkpoint.load(tmp_path / "run").config["schema"]
    assert schema["observations"] == {key: [size] for key, size in sizes.items()}
    assert schema["action"] == 7
    assert schema["env_args"]["env_name"] == "Lift"


def test_other_data_does_not_resume_a_run_and_a_moved_file_does(write_demos, tmp_path, capsys):
    words, moved = (f"run_dir={tmp_path / 'run'}",), tmp_path / "elsewhere.hdf5"
    file = write_demos()
    assert train_command(f"data={file}", *words, "trainer.steps=1") == 0
    file.rename(moved)
    assert train_command(f"data={moved}", *words, "trainer.steps=2") == 0
    capsys.readouterr()
    code = train_command(f"data={write_demos(seed=1)}", *words, "trainer.steps=3")
    refused(capsys, code, f"{tmp_path / 'run'} was trained on other data")
    assert checkpoint.load(tmp_path / "run").step == 2


def test_normaliser_holds_the_range_of_the_data(demo_file, tmp_path):
    train_command(f"data={demo_file}", f"run_dir={tmp_path / 'run'}", "trainer.steps=1")
    with h5py.File(demo_file) as file:
        lowest = np.min([file[f"data/demo_{i}/actions"][()].min(0) for i in range(3)], axis=0)
    np.testing.assert_allclose(isd_policy.load(tmp_path / "run").normaliser.limits.low, lowest, rtol=1e-6)


def test_same_command_resumes_to_the_same_weights(demo_file, tmp_path):
    words = (f"data={demo_file}", "trainer.schedule=constant")
    train_command(*words, f"run_dir={tmp_path / 'whole'}", "trainer.steps=4")
    train_command(*words, f"run_dir={tmp_path / 'parts'}", "trainer.steps=2")
    train_command(*words, f"run_dir={tmp_path / 'parts'}", "trainer.steps=4")
    whole, parts = (checkpoint.load(tmp_path / name).tensors("ema") for name in ("whole", "parts"))
    assert all((whole[key] == parts[key]).all() for key in whole)


def test_regression_is_sampled_as_a_regression(demo_file, tmp_path, observations):
    run_dir = tmp_path / "run"
    assert train_command(f"data={demo_file}", f"run_dir={run_dir}", "trainer.steps=1", "objective=regression") == 0
    policy = isd_policy.load(run_dir)
    (row,) = observations(1)
    first, second = policy.act(row), policy.act(row)
    np.testing.assert_array_equal(first, second)


def test_file_that_is_no_hdf5(tmp_path, capsys):
    path = tmp_path / "no.hdf5"
    path.write_text("no")
    refused(capsys, train_command(f"data={path}", f"run_dir={tmp_path / 'run'}"), "not an HDF5 file")


def test_missing_observation_key(demo_file, tmp_path, capsys):
    words = (f"data={demo_file}", f"run_dir={tmp_path / 'run'}", "dataset.observation_keys=[object,joints]")
    refused(capsys, train_command(*words), "`obs/joints`")


def test_unknown_override(demo_file, capsys):
    refused(capsys, train_command(f"data={demo_file}", "trainer.step=3"), "Did you mean `trainer.steps`")


def test_demonstrations_of_another_task(demo_file, tmp_path, capsys):
    code = train_command("task=can", f"data={demo_file}", f"run_dir={tmp_path / 'run'}")
    refused(capsys, code, "demonstrations of Lift, but task=can is PickPlaceCan")


def test_a_file_that_names_no_environment_is_of_no_task_but_own(demo_file, tmp_path, capsys):
    with h5py.File(demo_file, "r+") as file:
        del file["data"].attrs["env_args"]
    words = (f"data={demo_file}", f"run_dir={tmp_path / 'run'}", "trainer.steps=1")
    refused(capsys, train_command("task=lift", *words), "of no environment of ours, but task=lift is Lift")
    assert train_command("task=own", *words) == 0


def test_a_setting_that_cannot_be_simulated_is_refused_before_training(demo_file, tmp_path, capsys):
    with h5py.File(demo_file, "r+") as file:
        env_args = json.loads(file["data"].attrs["env_args"])
        env_args["env_kwargs"]["gripper_types"] = "RethinkGripper"
        file["data"].attrs["env_args"] = json.dumps(env_args)
    code = train_command(f"data={demo_file}", f"run_dir={tmp_path / 'run'}")
    refused(capsys, code, "gripper_types to 'RethinkGripper'")


@pytest.mark.parametrize("word", ["seed=x", "horizons.prediction=long", "horizons.execution=0"])
def test_training_settings_out_of_range(word, demo_file, tmp_path, capsys):
    code = train_command(f"data={demo_file}", f"run_dir={tmp_path / 'run'}", word)
    refused(capsys, code, word.partition("=")[0].rpartition(".")[2])


def test_data_left_out(tmp_path, capsys):
    refused(capsys, train_command(f"run_dir={tmp_path / 'run'}"), "data")


@pytest.mark.parametrize("command", [evaluate_command, control_command])
def test_zero_network_evaluations(command, save_policy, capsys):
    refused(capsys, command(f"checkpoint={save_policy()}", "nfe=0"), "at least 1")


@pytest.mark.parametrize("command", [evaluate_command, control_command])
def test_checkpoint_of_another_task(command, save_policy, capsys):
    refused(capsys, command(f"checkpoint={save_policy()}", "task=can"), "a policy for the task lift, not for task=can")


def test_corrupted_safetensors(save_policy, capsys):
    file = save_policy() / "checkpoints/step_00000001/ema.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    refused(capsys, evaluate_command(f"checkpoint={file}"), "ema.safetensors is damaged")


def test_what_a_sampler_cannot_do_is_said_before_the_first_rollout(demo_file, tmp_path, capsys, monkeypatch):
    run_dir = tmp_path / "it's a run (1)"
    words = (f"data={demo_file}", f"run_dir={run_dir}", "trainer.steps=1", "objective=regression")
    assert train_command(*words) == 0
    assert (
        capsys.readouterr()
        .out.rstrip()
        .endswith(f"Next: python -m isd_policy.evaluate {shlex.quote(f'checkpoint={run_dir}')} nfe=[1] episodes=100")
    )
    monkeypatch.setattr(evaluation, "rollout", None)
    monkeypatch.setattr(driving, "drive", None)
    message = "nfe=2: the sampler `regression` makes at most 1 network evaluation; nfe=1 is usual"
    refused(capsys, evaluate_command(f"checkpoint={run_dir}", "nfe=[1,2]"), message)
    refused(capsys, control_command(f"checkpoint={run_dir}", "nfe=2"), message)
    refused(capsys, train_command(*words, "evaluation.nfe=[2]"), message)


@pytest.mark.sim
@pytest.mark.slow
def test_evaluations_are_those_usual_for_the_sampler_and_each_number_runs_once(demo_file, tmp_path, capsys):
    run_dir, out = tmp_path / "run", tmp_path / "eval.json"
    assert train_command(f"data={demo_file}", f"run_dir={run_dir}", "trainer.steps=1", "objective=regression") == 0
    short = ("episodes=1", "max_steps=2", f"out={out}", "env.engine=robosuite")
    assert evaluate_command(f"checkpoint={run_dir}", *short) == 0
    assert read_json(out)["success"].keys() == {"1"}
    capsys.readouterr()
    assert evaluate_command(f"checkpoint={run_dir}", *short, "nfe=[1,1]") == 0
    assert read_json(out)["success"].keys() == {"1"}
    assert capsys.readouterr().err.count("nfe=[1, 1]: each number of evaluations is done once, [1]") == 1


@pytest.mark.parametrize(
    "word",
    ["episodes=0", "workers=0", "live=0", "max_steps=0", "threads=0", "initial_noise=ones", "episodes=many", "seed=-1"],
)
def test_evaluation_settings_out_of_range(word, save_policy, capsys):
    refused(capsys, evaluate_command(f"checkpoint={save_policy()}", word), word.partition("=")[0])


@pytest.mark.parametrize("word", ["rate=0", "seconds=-1", "rate=fast", "seed=x"])
def test_control_settings_out_of_range(word, save_policy, capsys):
    refused(capsys, control_command(f"checkpoint={save_policy()}", word), word.partition("=")[0])


def test_observations_that_the_environment_does_not_give(save_policy, config, capsys):
    schema = config["schema"] | {"observations": {"object": [14], "robot0_eef_pos": [3], "robot0_gripper_qpos": [2]}}
    code = evaluate_command(f"checkpoint={save_policy(config=config | {'schema': schema})}")
    refused(capsys, code, "`object` of shape [14]; the environment of lift gives [10]")


@pytest.mark.sim
def test_evaluation_does_not_depend_on_the_number_of_workers(save_policy, tmp_path):
    words = (f"checkpoint={save_policy()}", "nfe=[1,2]", "episodes=3", "max_steps=20", "seed=7")
    assert evaluate_command(*words, "workers=1", "live=1", f"out={tmp_path / 'one.json'}") == 0
    assert evaluate_command(*words, "workers=2", "live=2", f"out={tmp_path / 'two.json'}") == 0
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one["success"] == two["success"]
    assert one["starts"] == two["starts"]
    assert one["results"]["1"]["episodes"] == two["results"]["1"]["episodes"]
    assert one["success"]["2"].keys() == {"successes", "episodes", "rate", "low", "high"}
    assert one["protocol"]["max_steps"] == 20


@pytest.mark.sim
def test_control_loop_drives_the_simulated_robot(save_policy, tmp_path):
    out = tmp_path / "loop.json"
    words = (f"checkpoint={save_policy()}", "rate=20", "seconds=1", "max_steps=8", f"out={out}")
    assert control_command(*words) == 0
    content = json.loads(out.read_text())
    assert content["ticks"] == 20
    assert (content["episodes"], content["resets"]) == (3, 2)
    assert content["latency_ms"].keys() == {"p50", "p95", "p99", "max"}


@pytest.mark.sim
def test_another_sampler_than_the_trainings(save_policy, tmp_path, capsys):
    words = (f"checkpoint={save_policy()}", "nfe=[4]", "episodes=1", "max_steps=8", f"out={tmp_path / 'e.json'}")
    assert evaluate_command(*words, "sampler=diagonal") == 0
    assert json.loads((tmp_path / "e.json").read_text())["protocol"]["sampler"] == "diagonal"
    capsys.readouterr()
    refused(capsys, evaluate_command(*words, "sampler=euler"), "There is no sampler called `euler`; known: consistency")
