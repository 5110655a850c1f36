"""The page of objectives says what is: its configs, its passes, its tests."""

import re
from pathlib import Path

import pytest
import torch

from isd_core import cli
from isd_core.config import instantiate
from isd_core.mlp import MLP
from isd_core.velocities import Teacher
from scripts.experiments.passes import count_passes
from scripts.experiments.toy_cells import TEACHER

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "objectives.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \|.*\| ((?:[\d.]+ / ){3}[\d.]+) \|$", PAGE, re.MULTILINE))
KNOWN = sorted(path.stem for path in (cli.CONFIGS / "objective").glob("*.yaml"))
BATCH = 16
LAST = 9_999  # the step at which curricula have ended


def objective(name):
    slot = {"distill": "target", "distill_lagrangian": "velocity"}.get(name)
    words = ["data=unused", f"objective={name}", *([f"objective.{slot}.checkpoint=unused"] if slot else [])]
    config = cli.resolved(cli.compose_config("policy_train", words))
    path, fields = instantiate(config["path"]), dict(config["objective"])
    teacher = Teacher(MLP(2, clock=path.clock, width=8, depth=1))
    taught = [key for key, value in fields.items() if isinstance(value, dict) and value.get("_target_") == TEACHER]
    plain = {key: value for key, value in fields.items() if key not in taught}
    return path, instantiate(plain, **dict.fromkeys(taught, teacher))


def test_every_objective_has_a_row():
    assert sorted(ROWS) == KNOWN


@pytest.mark.parametrize("name", KNOWN)
def test_passes_are_those_of_a_step(name):
    path, made = objective(name)
    rng = torch.Generator().manual_seed(0)
    net = MLP(2, clock=path.clock, width=8, depth=1)
    found = count_passes(made, net, torch.randn(BATCH, 2, generator=rng), {}, rng, LAST)
    counted = [found.graded, found.ungraded, found.derivative, found.graded_derivative]
    assert [float(word) for word in ROWS[name].split("/")] == counted


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`((?:tests|isd_core|isd_policy)/[\w/.]+)`", PAGE))))
def test_files_that_the_page_names_exist(file):
    assert (ROOT / file).exists()
