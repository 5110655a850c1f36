"""An average of the run's own weights as a source of velocities: it follows, is saved, and resumes."""

import copy

import pytest
import torch
from torch.testing import assert_close

from isd_core.objectives.eulerian import Eulerian
from isd_core.objectives.lagrangian import Lagrangian
from isd_core.objectives.semigroup import Semigroup
from isd_core.paths import Linear
from isd_core.support.errors import InputError
from isd_core.training import checkpoint
from isd_core.training.config import TrainerConfig
from isd_core.training.ema import ConstantDecay
from isd_core.training.loss_module import LossModule
from isd_core.training.trainer import Trainer
from isd_core.velocities import Averaged
from tests.core.training.test_teacher import Model, Points

SLOTS = {
    "target": lambda source: Eulerian(Linear(), target=source),
    "velocity": lambda source: Lagrangian(Linear(), velocity=source),
    "teacher": lambda source: Semigroup(Linear(), teacher=source),
}


def trainer(run_dir, objective, **fields):
    fields = {"steps": 6, "batch_size": 8, "warmup": 0, "device": "cpu", "checkpoint_every": 100} | fields
    torch.manual_seed(0)
    config = TrainerConfig(**fields)
    return Trainer(Model(), objective, Points(), config, run_dir=run_dir, seed=0, config={"seed": 0}, kind="toy")


@pytest.mark.parametrize("slot", SLOTS)
def test_it_follows_the_network_and_nothing_trains_it(slot, tmp_path):
    source = Averaged(ConstantDecay(0.5))
    run = trainer(tmp_path, SLOTS[slot](source))
    expected = copy.deepcopy(run.model.net.state_dict())
    for _ in range(3):
        run.train_step()
        for key, value in run.model.net.state_dict().items():
            expected[key].lerp_(value, 0.5)
    assert_close(source.other().state_dict(), expected)
    assert not source.other().training and not any(p.requires_grad for p in source.other().parameters())
    trained = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in source.other().parameters()}
    assert len(trained) == len(list(run.model.parameters()))


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path):
    for name, stops in (("whole", (6,)), ("cut", (2, 6))):
        for until in stops:
            trainer(tmp_path / name, SLOTS["velocity"](Averaged(ConstantDecay(0.5)))).run(until=until)
    whole, cut = (checkpoint.load(tmp_path / name) for name in ("whole", "cut"))
    for group in ("model", "ema", "self"):
        assert_close(cut.tensors(group), whole.tensors(group), atol=0, rtol=0)
    assert any(not torch.equal(whole.tensors("self")[key], whole.tensors("model")[f"net.{key}"]) for key in
               whole.tensors("self"))  # fmt: skip


def test_a_run_without_one_saves_none(tmp_path):
    trainer(tmp_path, Eulerian(Linear())).run(until=1)
    assert "self.safetensors" not in checkpoint.load(tmp_path).meta["sha256"]


def test_two_averages_of_one_objective_are_refused():
    objective = Semigroup(Linear(), bridge=Averaged(ConstantDecay(0.9)), teacher=Averaged(ConstantDecay(0.99)))
    with pytest.raises(InputError, match="the same decay"):
        LossModule(Model(), objective, None)
