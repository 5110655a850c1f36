"""The page of objectives says what is: its configs, its passes, its tests."""

import re
from pathlib import Path

import pytest
import torch

from isd_core.networks.mlp import MLP
from isd_core.support import cli
from isd_core.support.registry import build
from scripts.support.heads import taught, teachers_place
from scripts.support.passes import count_passes

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "objectives.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \|.*\| ((?:[\d.]+ / ){3}[\d.]+) \|$", PAGE, re.MULTILINE))
KNOWN = sorted(path.stem for path in (cli.CONFIGS / "objective").glob("*.yaml"))
BATCH = 16
LAST = 9_999  # the step at which curricula have ended


def objective(name):
    place = teachers_place(name)
    words = ["data=unused", f"objective={name}", *([f"objective.{place}.checkpoint=unused"] if place else [])]
    config = cli.resolved(cli.compose_config("policy_train", words))
    path = build("path", config["path"])
    return path, taught(config["objective"], MLP(2, clock=path.clock, width=8, depth=1))


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
