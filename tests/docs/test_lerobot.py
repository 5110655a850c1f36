"""The five commands of docs/lerobot.md, each of them run."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import isd_policy
from isd_core.support.cli import Command
from isd_policy.data.lerobot.writer import write
from isd_policy.deploy import lerobot

pytest.importorskip("pyarrow", reason="the lerobot-data extra is not installed")
pytest.importorskip("av", reason="the lerobot-data extra is not installed")
pytest.importorskip("zarr", reason="the zarr extra is not installed")
pytest.importorskip("torchvision", reason="the pictures extra is not installed")

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "lerobot.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
JOINTS = ("pan.pos", "lift.pos")
SMALLER = ["network.widths=[8,16]", "trainer.steps=4", "trainer.batch_size=4", "trainer.device=cpu"]


class Arm:
    """A robot with LeRobot's methods."""

    observation_features = dict.fromkeys(JOINTS, float) | {"top": (32, 32, 3)}
    action_features = dict.fromkeys(JOINTS, float)

    def __init__(self):
        self.sent, self.disconnected = [], False

    def connect(self):
        pass

    def get_observation(self):
        return dict.fromkeys(JOINTS, 0.1) | {"top": np.zeros((32, 32, 3), np.uint8)}

    def send_action(self, action):
        self.sent.append(action)

    def disconnect(self):
        self.disconnected = True


def run(words):
    """A command of the page, in this process."""
    module = import_module(words[2])
    entry = next((value for name, value in vars(module).items() if name == "main" and isinstance(value, Command)), None)
    if entry is None:  # a package, or a module that names its command otherwise
        entry = import_module("isd_policy.commands").train if words[2] == "isd_policy.train" else None
        entry = entry or import_module(f"{words[2]}.__main__").main
    return entry.run(*words[3:])


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """The data set of the page, in the folder where its commands run."""
    rng = np.random.default_rng(0)
    state = rng.uniform(-1, 1, (48, 2))
    demos = isd_policy.Demonstrations.from_arrays(
        observations={"state": state, "top": rng.integers(0, 256, (48, 32, 32, 3), np.uint8)},
        actions=state,
        episode_ends=[12, 24, 36, 48],
        rate=30,
        labels={"state": JOINTS, "actions": JOINTS},
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "pick_cube", demos, task="Pick the cube.")
    return tmp_path


@pytest.mark.slow
def test_five_commands_lead_from_the_data_set_to_the_robot(recorded, monkeypatch, capsys):
    arm = Arm()
    monkeypatch.setattr(lerobot, "make_robot", lambda fields: arm if fields["type"] == "so101_follower" else None)
    commands = [shlex.split(line) for line in BLOCKS[0].splitlines()]
    assert len(commands) == 5
    for words in commands:
        more = SMALLER if words[2] == "isd_policy.train" else []
        words = [re.sub(r"^seconds=30$", "seconds=0.2", word) for word in words]
        assert run([*words, *more]) == 0, capsys.readouterr().err
    assert len(arm.sent) == 6 and arm.disconnected and set(arm.sent[0]) == set(JOINTS)


def test_the_other_command_writes_a_set(demo_file_of_lift, capsys):
    (line,) = BLOCKS[1].splitlines()
    words = shlex.split(line)
    assert run(words) == 0
    assert isd_policy.read("lift_lerobot").rate == 20


@pytest.mark.slow
def test_a_policy_becomes_lerobots_by_the_page(recorded):
    words = ["task=own", "data=data/pick_cube", "network=unet1d_small", "run_dir=runs/pick_cube", *SMALLER]
    assert run(["python", "-m", "isd_policy.train", *words]) == 0
    (line,) = BLOCKS[3].splitlines()
    assert run(shlex.split(line)) == 0
    assert isd_policy.load("pretrained_model").schema.shapes == {"state": (2,), "top": (32, 32, 3)}


@pytest.fixture
def demo_file_of_lift(tmp_path, monkeypatch):
    """lift.hdf5 of robomimic's layout, with random numbers."""
    import json

    import h5py

    from isd_envs.spec import EnvSpec

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with h5py.File("lift.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(EnvSpec("lift").env_args)
        for i in range(2):
            data[f"demo_{i}/actions"] = rng.uniform(-1, 1, (9, 7))
            for key, size in {"object": 10, "robot0_eef_pos": 3, "robot0_eef_quat": 4}.items():
                data[f"demo_{i}/obs/{key}"] = rng.normal(size=(9, size))
            data[f"demo_{i}/obs/robot0_gripper_qpos"] = rng.normal(size=(9, 2))
    return tmp_path / "lift.hdf5"
