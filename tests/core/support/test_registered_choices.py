"""Registered members are choices of the command line, like the files of configs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import isd_policy
from isd_core.support.cli import compose_config, help_text
from isd_core.support.errors import InputError
from isd_core.support.fields import Size
from isd_core.support.registry import ROLES

ROOT = Path(__file__).resolve().parents[3]
WORDS = ["data=unused", "run_dir=unused"]
THEIRS = '''
import torch

class Net(torch.nn.Module):
    """A network of another distribution."""

    def __init__(self, *, action_size: int, condition_size: int, horizon: int, clock: object, width: int = 4) -> None:
        super().__init__()
        self.out = torch.nn.Linear(action_size + condition_size + 2, action_size)

    def forward(self, x, t, s, cond):
        times = torch.stack([t, s], dim=1)[:, None].expand(-1, x.shape[1], -1)
        obs = cond["obs"][:, None].expand(-1, x.shape[1], -1)
        return self.out(torch.cat([x, times, obs], dim=2))
'''


@pytest.fixture
def mine():
    """A registered network; gone afterwards."""

    @isd_policy.register("network", "mine", head="policy")
    class Mine(nn.Module):
        def __init__(
            self, *, action_size: int, condition_size: int, horizon: int, clock: object, width: Size = 8
        ) -> None:
            super().__init__()

    yield Mine
    del ROLES["network"].members["mine"]


def test_a_registered_network_is_chosen_and_its_fields_are_set(mine):
    config = compose_config("policy_train", [*WORDS, "network=mine", "network.width=32"])
    assert config.network == {"type": "mine", "width": 32}


def test_its_fields_are_in_the_help_and_its_name_among_the_choices(mine):
    text = help_text(lambda cfg: None, "policy_train", ["network=mine"])
    assert "network=mine   # given; choices: dit1d" in text and "mine, " in text and "width: 8" in text


def test_a_misspelt_field_and_an_unknown_name_are_refused(mine):
    with pytest.raises(InputError, match=r"network\.wide"):
        compose_config("policy_train", [*WORDS, "network=mine", "network.wide=32"])
    with pytest.raises(InputError, match=r"no network called `mein`.*mine"):
        compose_config("policy_train", [*WORDS, "network=mein"])


def test_an_installed_distributions_network_is_trained_with_and_named_where_it_is_missing(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "their_flow.py").write_text(THEIRS)
    info = tmp_path / "site" / "their_flow-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-flow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[isd_flow.networks]\ntheirs = their_flow:Net\n")
    program = (
        "import sys, numpy as np, isd_policy\n"
        "state = np.random.default_rng(0).uniform(-1, 1, (40, 2))\n"
        "demos = isd_policy.Demonstrations.from_arrays(\n"
        "    observations={'state': state}, actions=state, episode_ends=[20, 40])\n"
        "isd_policy.train(demos, network='theirs', steps=1, run_dir='run', trainer={'batch_size': 4})\n"
        "print(isd_policy.load('run').source.config['network'])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "site")])}
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "{'type': 'theirs', 'width': 4}", run.stderr
    with pytest.raises(InputError, match="no network called `theirs` here"):
        isd_policy.load(tmp_path / "run")
    words = ["-m", "isd_policy.train", *WORDS, "network=theirs", "network.width=7", "--cfg"]
    command = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "type: theirs\n  width: 7" in command.stdout, command.stderr
