"""Data-parallel training over two gloo processes, and its twin: one process that adds up two parts of each batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from isd_core.distributed import World, join
from isd_core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
import torch
from torch import nn
from isd_core.network import Trainable
from isd_core.objectives.eulerian import Eulerian
from isd_core.optimizer import OptimizerConfig
from isd_core.loggers import JsonlLogger
from isd_core.paths import Linear
from isd_core.trainer import Trainer, TrainerConfig

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 2))
    def forward(self, x, t, s, cond):
        return self.layers(torch.cat([x, t[:, None], s[:, None]], 1))

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

run_dir, steps, accumulate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
config = TrainerConfig(
    steps=steps, batch_size=8, accumulate=accumulate, device="cpu", optimizer=OptimizerConfig(lr=1e-2),
    schedule="constant", warmup=0, log_every=1, checkpoint_every=100,
)
trainer = Trainer(Model(), Eulerian(Linear()), Data(), config, run_dir=run_dir, seed=3, config={}, kind="toy")
trainer.run([JsonlLogger(run_dir, trainer.step)] if trainer.world.chief else [])
"""


def run(folder: Path, name: str, steps: int, processes: int, accumulate: int = 1) -> dict[str, torch.Tensor]:
    """The weights after a training in `processes` processes, started with the variables that torchrun sets."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(processes)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, str(program), str(folder / name), str(steps), str(accumulate)]
    started = [
        subprocess.Popen(command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]
    assert [process.wait(120) for process in started] == [0] * processes
    return load_file(folder / name / "checkpoints" / f"step_{steps:08d}" / "model.safetensors")


def log(path: Path) -> list[dict]:
    records = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


@pytest.mark.slow
def test_two_processes_and_a_resumed_run_are_one_that_adds_up_two_parts(tmp_path):
    run(tmp_path, "two", 2, processes=2)
    two = run(tmp_path, "two", 4, processes=2)
    one = run(tmp_path, "one", 4, processes=1, accumulate=2)
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-6, atol=1e-7)
    for a, b in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_one_process_needs_no_group():
    world = World()
    assert (world.chief, world.any(True), world.mean({"a": 2.0})) == (True, True, {"a": 2.0})


def test_a_half_set_environment_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="torchrun"):
        join(torch.device("cpu"))
