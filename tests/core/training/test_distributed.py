"""Training over two gloo processes, with full and with sharded weights, and its twin: one process that adds up."""

import json
from pathlib import Path

import pytest
import torch

from isd_core.support.errors import InputError
from isd_core.training import checkpoint
from isd_core.training.distributed import World, join

PROGRAM = """
import sys
import torch
from torch import nn
from isd_core.network import Trainable
from isd_core.objectives.eulerian import Eulerian
from isd_core.training.optimizer import AdamW
from isd_core.training.loggers import JsonlLogger
from isd_core.paths import Linear
from isd_core.velocities import OwnDiagonal, Teacher
from isd_core.weighting import Learned
from isd_core.training.config import TrainerConfig
from isd_core.training.trainer import Trainer

torch.set_default_dtype(torch.float64)  # so that the order of sums does not matter

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 15), nn.Linear(15, 2)  # 15 rows do not divide by 2
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(15, 15), nn.SiLU()) for _ in range(2))
    def forward(self, x, t, s, cond):
        h = self.first(torch.cat([x, t[:, None], s[:, None]], 1))
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)

class Model(Trainable):
    def __init__(self):
        super().__init__()
        self.net = Net()
    def prepare(self, batch, rng):
        return batch["x"], {}

class Data:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    def __len__(self):
        return len(self.x)
    def batch(self, indices):
        return {"x": self.x[indices]}

def target(run_dir):
    torch.manual_seed(1)
    return Teacher(Net()) if run_dir.startswith("taught") else OwnDiagonal()

def train(run_dir, accumulate, shard, steps):
    config = TrainerConfig(
        steps=steps, batch_size=16, accumulate=accumulate, device="cpu", shard=shard, schedule="constant", warmup=0,
        optimizer=AdamW(lr=1e-2), clip_norm=0.1, log_every=1, diagnose_every=1, checkpoint_every=100,
    )
    objective = Eulerian(Linear(), weighting=Learned(), target=target(run_dir))
    torch.manual_seed(0)
    trainer = Trainer(Model(), objective, Data(), config, run_dir=run_dir, seed=3, config={}, kind="toy")
    trainer.run([JsonlLogger(run_dir, trainer.step)] if trainer.world.is_main else [])

for word in sys.argv[2:]:  # a folder and the sharding of its two halves
    run_dir, first, second = word.split(":")
    train(run_dir, int(sys.argv[1]), first, 2)
    train(run_dir, int(sys.argv[1]), second, 4)
"""


def tensors(run_dir: Path) -> dict[str, torch.Tensor]:
    saved = checkpoint.load(run_dir)
    groups = ("model", "ema", "weighting", "optimizer")
    return {f"{group}/{key}": value for group in groups for key, value in saved.tensors(group).items()}


def log(run_dir: Path) -> list[dict]:
    records = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


@pytest.fixture(scope="module")
def runs(processes, tmp_path_factory):
    """Folders of one process that adds up four parts of a batch, and of pairs that add up two each: without and with a
    teacher."""
    folder = tmp_path_factory.mktemp("runs")
    processes(PROGRAM, folder, 1, "4", "one:none:none", "taught_one:none:none")
    processes(
        PROGRAM,
        folder,
        2,
        "2",
        "full:none:none",
        "full_then_sharded:none:full",
        "sharded_then_full:full:none",
        "taught_sharded:full:full",
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "full_then_sharded", "sharded_then_full", "taught_sharded"])
def test_two_processes_and_a_resumed_run_are_one_that_adds_up_their_parts(runs, name):
    twin = "taught_one" if name.startswith("taught") else "one"
    found, expected = tensors(runs / name), tensors(runs / twin)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}")
    for a, b in zip(log(runs / name), log(runs / twin), strict=True):
        assert a == pytest.approx(b, rel=1e-6, abs=1e-9)


def test_one_process_needs_no_group():
    world = World()
    assert (world.is_main, world.any(True), world.mean({"a": 2.0})) == (True, True, {"a": 2.0})


def test_a_half_set_environment_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="torchrun"):
        join(torch.device("cpu"))
