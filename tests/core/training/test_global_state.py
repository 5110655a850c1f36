"""A training changes nothing outside itself: random numbers, TF32, signal handlers, threads."""

import signal
import threading

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.derivatives import CentralDifference, ExactJVP, tf32
from isd_core.network import Trainable
from isd_core.networks.mlp import MLP
from isd_core.objectives.eulerian import Eulerian
from isd_core.paths import Linear
from isd_core.training.config import TrainerConfig
from isd_core.training.trainer import Trainer
from isd_core.weighting import Learned


class Points:
    x = 1 + 0.2 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return {"x": self.x[indices]}


class Dropping(Trainable):
    """An MLP with dropout, which draws from torch's global generator."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = MLP(2, clock=Linear().clock, width=16, depth=1)
        self.drop = nn.Dropout(0.5)

    def prepare(self, batch, rng):
        return self.drop(batch["x"]), {}


def trainer(run_dir, objective=None):
    fields = {"steps": 4, "batch_size": 8, "accumulate": 2, "device": "cpu", "diagnose_every": 1, "log_every": 1}
    objective = objective or Eulerian(Linear(), weighting=Learned())
    return Trainer(
        Dropping(), objective, Points(), TrainerConfig(**fields), run_dir=run_dir, seed=0, config={}, kind="toy"
    )


def test_a_training_leaves_the_process_as_it_was(tmp_path, global_state):
    before = global_state()
    trainer(tmp_path).run()
    assert global_state() == before


def test_a_training_does_not_depend_on_the_global_generator(tmp_path):
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        run = trainer(tmp_path / str(seed))
        run.run()
        weights.append(run.model.state_dict())
    assert_close(*weights, atol=0, rtol=0)


def test_a_training_runs_in_another_thread_and_is_stopped_by_a_call(tmp_path, global_state):
    """Python lets the main thread alone set signal handlers."""
    before, seen = global_state(), []

    class Stopping(Eulerian):
        def draw(self, x, cond, rng, step):
            seen.append(signal.getsignal(signal.SIGTERM))
            if step == 1:
                run.stop()
            return super().draw(x, cond, rng, step)

    run = trainer(tmp_path, Stopping(Linear()))
    thread = threading.Thread(target=run.run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and run.step < run.cfg.steps
    assert set(seen) == {signal.SIG_DFL}
    assert global_state() == before


def test_a_failing_step_puts_everything_back(tmp_path, global_state):
    class Failing(Eulerian):
        def loss(self, net, draw):
            raise RuntimeError("out of memory")

    before = global_state()
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer(tmp_path, Failing(Linear())).run()
    assert global_state() == before


class Watching(Eulerian):
    """Notes the switches of TF32 in each step."""

    def loss(self, net, draw):
        switches = torch.backends.cuda.matmul, torch.backends.cudnn
        object.__setattr__(self, "seen", [each.allow_tf32 for each in switches])
        return super().loss(net, draw)


@pytest.fixture(params=[False, True], ids=["tf32 was off", "tf32 was on"])
def was(request):
    with tf32(request.param):
        yield request.param


@pytest.mark.parametrize(
    "derivative, expected",
    [
        (CentralDifference(), False),
        (CentralDifference(eps=0.05, precision="tf32"), True),
        (CentralDifference(precision="autocast"), None),
        (ExactJVP(), None),
    ],
    ids=["float32", "tf32", "autocast", "jvp"],
)
def test_differences_decide_about_tf32_in_their_step_alone(tmp_path, derivative, expected, was, global_state):
    """A GPU rounds to 10 bits in TF32; the difference of two nearly equal numbers would be noise."""
    before, objective = global_state(), Watching(Linear(), derivative=derivative)
    trainer(tmp_path, objective).run()
    assert objective.seen == [was if expected is None else expected] * 2
    assert global_state() == before


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_put_back_under_both_of_its_names(allowed):
    """A user of the newer names: torch refuses to read the older flags beside them."""
    matrices, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matrices.fp32_precision, convolutions.fp32_precision
    matrices.fp32_precision = "tf32"
    try:
        with tf32(allowed):
            assert matrices.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed
            assert matrices.fp32_precision == convolutions.fp32_precision == ("tf32" if allowed else "ieee")
        assert (matrices.fp32_precision, convolutions.fp32_precision) == ("tf32", before[1])
    finally:
        matrices.allow_tf32 = False
        matrices.fp32_precision, convolutions.fp32_precision = before
