"""Training a policy over two processes."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from isd_core.training import checkpoint

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import torch
from isd_core.training.distributed import join
from isd_policy.data import read, read_shared

world = join(torch.device("cpu"))
options = {"observation_keys": ["object", "front_image"], "pictures": sys.argv[2]}
shared, alone = read_shared(sys.argv[1], options, world), read(sys.argv[1], options)
rows = np.arange(4)[None]
for key in options["observation_keys"]:
    assert np.array_equal(shared.observations[key][rows], alone.observations[key][rows])
assert np.array_equal(shared.actions, alone.actions)
held = [key for key, value in shared.observations.items() if isinstance(value, np.memmap)]
assert held == (["object", "front_image"] if sys.argv[2] == "memory" else ["object"]), held
world.barrier()  # the first process unlinks the files after the others have them
assert not Path(shared.actions.filename).exists()
"""


@pytest.fixture
def with_pictures(demo_file):
    rng = np.random.default_rng(0)
    with h5py.File(demo_file, "r+") as file:
        for demo in file["data"].values():
            demo["obs/front_image"] = rng.integers(0, 256, (demo.attrs["num_samples"], 6, 5, 3), np.uint8)
    return demo_file


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_what_is_in_memory_is_there_once_for_all_processes(processes, with_pictures, tmp_path, place):
    processes(PROGRAM, tmp_path, 2, str(with_pictures), place)


@pytest.mark.slow
def test_accelerate_launches_the_training(demo_file, tmp_path):
    """Two processes under `accelerate launch`; each takes half of the batch, and one prints and writes."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    words = ["network.widths=[8,16]", "network.embedding=8", "network.frequency_dim=8", "network.hidden=8"]
    words += ["trainer.batch_size=4", "trainer.steps=2", f"data={demo_file}", f"run_dir={tmp_path / 'run'}"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu"]
    done = subprocess.run(
        [*launch, "-m", "isd_policy.train", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Trained to step 2") == 1
    assert checkpoint.load(tmp_path / "run").step == 2
