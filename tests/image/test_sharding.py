"""The larger recipe's parts over two gloo processes: with sharded weights the training is the same."""

import pytest
import torch

from isd_core.training import checkpoint

PROGRAM = """
import sys
from isd_core.support.cli import run
from isd_image import commands

network = ["network=in_context_xl1", "network.width=32", "network.depth=2", "network.heads=2", "network.context_from=1"]
recipe = ["guidance=interval", "weighting=cosine", "trainer=image_normuon", "network.checkpointing=true", "grids=null"]
trainer = ["trainer.batch_size=8", "trainer.device=cpu", "trainer.ema.decay=0.9", "trainer.log_every=1"]
for name, shard, steps in (("full", "none", 3), ("sharded", "full", 2), ("sharded", "full", 3)):
    words = [f"trainer.shard={shard}", f"trainer.steps={steps}", f"run_dir={name}"]
    if code := commands.train.run(*network, *recipe, *trainer, *words):
        sys.exit(code)
"""


@pytest.mark.slow
def test_sharded_weights_train_as_full_ones_with_normuon_and_bfloat16(processes, tmp_path):
    processes(PROGRAM, tmp_path, 2)
    full, sharded = (checkpoint.load(tmp_path / name) for name in ("full", "sharded"))
    for group in ("model", "ema", "optimizer"):
        expected, found = full.tensors(group), sharded.tensors(group)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            scale = float(value.abs().max())
            torch.testing.assert_close(
                found[key], value, rtol=1e-3, atol=1e-3 * scale + 1e-9, msg=lambda m, k=key: k + m
            )
    trained = [value for key, value in full.tensors("optimizer").items() if key.endswith(("momentum", "exp_avg"))]
    assert sum(bool(value.any()) for value in trained) > 0.9 * len(trained)
