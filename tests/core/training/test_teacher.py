"""A teacher is a part of the loss that nothing trains, saves, averages or shards."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.intermediate import Midpoint
from isd_core.network import Trainable
from isd_core.networks.mlp import MLP
from isd_core.objectives.eulerian import Eulerian
from isd_core.objectives.lagrangian import Lagrangian
from isd_core.objectives.semigroup import Semigroup
from isd_core.paths import Linear
from isd_core.support.errors import InputError
from isd_core.training import checkpoint, heads
from isd_core.training.config import TrainerConfig
from isd_core.training.loss_module import LossModule
from isd_core.training.trainer import Trainer
from isd_core.velocities import OwnDiagonal, Teacher, teacher


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp, self.drop = MLP(2, clock=Linear().clock, width=16, depth=1), nn.Dropout(0.5)

    def forward(self, x, t, s, cond):
        return self.drop(self.mlp(x, t, s))


class Model(Trainable):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def prepare(self, batch, rng):
        return batch["x"], {}


class Points:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return {"x": self.x[indices]}


SLOTS = {
    "target": lambda source: Eulerian(Linear(), target=source),
    "tangent": lambda source: Eulerian(Linear(), target=OwnDiagonal(), tangent=source),
    "velocity": lambda source: Lagrangian(Linear(), velocity=source),
    "bridge": lambda source: Semigroup(Linear(), bridge=source, intermediate=Midpoint()),
}


@pytest.fixture(params=SLOTS)
def distillation(request):
    """(objective, the teacher's network), for each slot that takes a velocity."""
    torch.manual_seed(3)
    net = Net()
    return SLOTS[request.param](Teacher(net)), net


def test_a_teacher_goes_where_the_loss_goes(distillation):
    objective, net = distillation
    LossModule(Model(), objective, None).to("meta")
    assert {p.device.type for p in net.parameters()} == {"meta"}


def test_a_teacher_keeps_its_dropout_off_and_its_weights(distillation, tmp_path):
    objective, net = distillation
    before = {key: value.clone() for key, value in net.state_dict().items()}
    config = TrainerConfig(steps=3, batch_size=8, device="cpu")
    run = Trainer(Model(), objective, Points(), config, run_dir=tmp_path, seed=0, config={}, kind="toy")
    run.run()
    assert run.loss.training and not any(module.training for module in net.modules())
    assert_close(net.state_dict(), before, atol=0, rtol=0)
    assert all(p.grad is None for p in net.parameters())


def test_a_teacher_is_in_no_optimiser_average_or_checkpoint(distillation, tmp_path):
    objective, net = distillation
    config = TrainerConfig(steps=1, batch_size=8, device="cpu")
    run = Trainer(Model(), objective, Points(), config, run_dir=tmp_path, seed=0, config={}, kind="toy")
    saved = checkpoint.load(run.run())
    own = {id(p) for p in net.parameters()}
    assert not own & {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    student = set(run.model.state_dict())
    assert set(run.averages["ema"].state) == set(saved.tensors("model")) == set(saved.tensors("ema")) == student
    assert set(saved.meta["sha256"]) == {"model.safetensors", "ema.safetensors", "optimizer.safetensors"}


@pytest.fixture
def taught_by(tmp_path, monkeypatch):
    """taught_by(kind, tensors): the teacher in a checkpoint of that kind; the kind `known` is declared."""
    monkeypatch.setattr(heads, "HEADS", {})
    heads.declare(heads.Head("known", lambda config: Net()))

    def make(kind, tensors, path=None):
        config = {"path": {"type": "linear"}}
        checkpoint.save(tmp_path, 1, {"ema": tensors}, {"kind": kind, "config": config})
        return teacher(str(tmp_path), path or Linear())

    return make


def test_the_head_of_a_checkpoint_builds_its_teacher(taught_by, global_state):
    net, before = Net(), global_state()
    made = taught_by("known", {f"net.{key}": value for key, value in net.state_dict().items()})
    assert_close(made.net.state_dict(), net.state_dict(), atol=0, rtol=0)
    assert not any(p.requires_grad for p in made.net.parameters()) and not made.net.training
    assert global_state() == before


def test_a_teacher_of_an_unknown_kind_is_refused(taught_by):
    with pytest.raises(InputError, match="kind `other`; here only known is known"):
        taught_by("other", {"net.x": torch.zeros(1)})
