import json

import h5py
import numpy as np
import pytest

from isd_policy import commands
from isd_policy.data import convert, inspect


def inspected(path, capsys):
    code = inspect.main.run(str(path))
    return code, capsys.readouterr()


def test_a_whole_file_is_described(write_demos, capsys):
    path = write_demos(masks={"train": ["demo_0", "demo_2"]})
    code, printed = inspected(path, capsys)
    assert code == 0
    for text in (
        "demonstrations: 3, 62 steps (12 to 30 each)",
        "Lift (robosuite 1.5.2): delta actions in the base frame, kp 150",
        "actions: actions [7]",
        "object [10]",
        "filter keys: train (2)",
        "task=lift: fits",
        "task=lift_image: no: no agentview_image, robot0_eye_in_hand_image",
        "problems: none",
    ):
        assert text in printed.out


def test_every_problem_is_named(demo_file, capsys):
    with h5py.File(demo_file, "r+") as file:
        file["data/demo_1/actions"][3, 2] = np.nan
        del file["data/demo_2/obs/object"]
        del file["data"].attrs["env_args"]
    code, printed = inspected(demo_file, capsys)
    assert code == 2
    problems = [line for line in printed.out.splitlines() if "problem:" in line]
    assert any("data/demo_1/actions holds nan at step 3" in line for line in problems)
    assert any("replay: no, it names no environment" in line for line in printed.out.splitlines())
    assert "environment: unknown" in printed.out


def uses(path, capsys):
    code, printed = inspected(path, capsys)
    return code, {line.split(":")[0].strip(): line for line in printed.out.splitlines() if line.startswith("  ")}


def test_a_file_of_a_task_can_be_trained_on_and_evaluated(demo_file, capsys):
    code, said = uses(demo_file, capsys)
    assert code == 0
    assert "yes, task=lift or task=own" in said["train"]
    assert "no, it holds no states" in said["replay"]
    assert "yes, in the simulator, after a training with task=lift" in said["evaluate"]


def test_a_file_without_an_environment_can_be_trained_on(demo_file, capsys):
    with h5py.File(demo_file, "r+") as file:
        del file["data"].attrs["env_args"]
    code, said = uses(demo_file, capsys)
    assert code == 0
    assert "yes, task=own" in said["train"]
    assert "no, it names no environment" in said["replay"]
    assert "held-out episodes judge a policy of task=own" in said["evaluate"]


def test_a_file_of_another_simulator_can_be_trained_on_alone(demo_file, tmp_path, capsys):
    """Honest metadata: train, and convert, say what will work."""
    with h5py.File(demo_file, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "assembly-v3", "type": 9, "env_kwargs": {}})
    code, said = uses(demo_file, capsys)
    assert code == 0
    assert "yes, task=own" in said["train"] and "task=lift" not in said["train"]
    assert "assembly-v3" in said["replay"] and "assembly-v3" in said["evaluate"]
    pytest.importorskip("zarr", reason="the zarr extra is not installed")
    out = tmp_path / "demos.zarr"
    assert convert.main.run(f"data={demo_file}", f"out={out}") == 0
    command = capsys.readouterr().out.split("Next: python -m isd_policy.train ")[1].split()
    assert command == ["task=own", f"data={out}"]
    tiny = ["network=unet1d_small", "network.widths=[8,16]", "trainer.steps=1", "trainer.device=cpu"]
    assert commands.train.run(*command, *tiny, "trainer.batch_size=4", f"run_dir={tmp_path / 'run'}") == 0


def test_states_alone_can_be_replayed_and_observed(demo_file, capsys):
    with h5py.File(demo_file, "r+") as file:
        for demo in file["data"].values():
            del demo["obs"]
            demo["states"] = np.zeros((len(demo["actions"]), 32))
    code, said = uses(demo_file, capsys)
    assert code == 2
    assert "no, it has no observations: isd_envs.observe makes" in said["train"]
    assert "yes, python -m isd_envs.replay data=" in said["replay"]


def test_an_observation_of_another_size_does_not_fit(demo_file, capsys):
    with h5py.File(demo_file, "r+") as file:
        for demo in file["data"].values():
            values = demo["obs/object"][()]
            del demo["obs/object"]
            demo["obs/object"] = values[:, :9]
    _, printed = inspected(demo_file, capsys)
    assert "task=lift: no: object is [9] in the file and (10,) in the simulator" in printed.out


def test_pusht_is_described(pytestconfig, capsys):
    pytest.importorskip("zarr", reason="the zarr extra is not installed")
    _, printed = inspected(pytestconfig.rootpath / "tests/data/pusht/three_episodes.zarr.zip", capsys)
    assert "Push-T recording" in printed.out
    assert "task=pusht_keypoints: fits" in printed.out


@pytest.mark.parametrize("content", [None, b"no HDF5"])
def test_a_file_that_is_none_of_these(tmp_path, capsys, content):
    path = tmp_path / "data.hdf5"
    if content is not None:
        path.write_bytes(content)
    code, printed = inspected(path, capsys)
    assert code == 2
    assert str(path) in printed.err
