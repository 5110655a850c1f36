"""A step's loss and gradient are those of the eager one when it is compiled, whole, for every objective."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.network import Trainable
from isd_core.support import cli
from isd_core.support.registry import structured
from isd_core.training.config import TrainerConfig
from isd_core.training.loss_module import LossModule
from scripts.support.heads import taught, teachers_place

NAMES = sorted(path.stem for path in (cli.CONFIGS / "objective").glob("*.yaml"))
KINDS = ("isd", "esd", "lsd")  # one for each way in which a step takes the derivative
STEP = 9_000  # of 10,000: curricula are on their way


def built(name, *words):
    place = teachers_place(name)
    teacher = [f"objective.{place}.checkpoint=unused"] if place else []
    config = cli.resolved(cli.compose_config("policy_train", ["data=x", f"objective={name}", *teacher, *words]))
    return taught(config["objective"], Small())


class Small(nn.Module):
    """F(x; t, s), smooth, of few operations to trace."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x, t, s, cond):
        return self.last(torch.tanh(self.first(torch.cat([x, t[:, None], s[:, None]], 1))))


def loss_and_gradients(loss, net, draw):
    net.zero_grad()
    out = loss(net, draw)
    out.loss.backward()
    return out.loss.detach(), [p.grad for p in net.parameters()]


@pytest.fixture
def draw_of():
    x = 0.5 * torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    return lambda objective: objective.draw(x, {}, torch.Generator().manual_seed(1), STEP)


@pytest.mark.parametrize(
    "name, derivative, backend",
    [(name, "difference", "eager") for name in NAMES]
    + [("isd", "difference", "aot_eager"), *((name, "jvp", "aot_eager") for name in KINDS)],
)
def test_every_step_is_one_graph_with_the_eager_loss_and_gradient(name, derivative, backend, draw_of):
    """`fullgraph` refuses a step that falls apart. `eager` runs the traced graph, `aot_eager` also its backward pass,
    traced ahead; neither generates code."""
    objective = built(name, f"derivative={derivative}")
    net, draw = Small(), draw_of(objective)
    torch._dynamo.reset()
    compiled = torch.compile(objective.loss, backend=backend, fullgraph=True)
    eager = loss_and_gradients(objective.loss, copy.deepcopy(net), draw)
    assert_close(loss_and_gradients(compiled, net, draw), eager, atol=1e-4, rtol=1e-3)


class Model(Trainable):
    def __init__(self):
        super().__init__()
        self.net = Small()

    def prepare(self, batch, rng):
        return batch["x"], {}


@pytest.mark.slow
def test_the_trainers_compiled_step_is_the_eager_one():
    """By the default code generator."""
    batch = {"x": 0.5 * torch.randn(32, 2, generator=torch.Generator().manual_seed(0))}
    torch._dynamo.reset()
    found = []
    for compiled in (False, True):
        module = LossModule(Model(), built("isd"), None)
        if compiled:
            module.compile_step(reduce_overhead=True)
        out = module(batch, torch.Generator().manual_seed(1), 0)
        out.loss.backward()
        found.append((out.loss.detach(), out.terms, [p.grad for p in module.parameters()]))
    assert_close(found[1], found[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("value", [False, True, "reduce-overhead"])
def test_the_field_takes_three_values(value):
    config = structured(TrainerConfig, {"steps": 1, "batch_size": 1, "compile": value}, where="trainer")
    assert TrainerConfig(1, 1, compile=value) == config
