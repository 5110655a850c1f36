"""No step waits for the device. On the CPU that is shown by a mode in which every operation whose result the host needs
is an error: what reads a number out of a tensor, and what makes a tensor whose size depends on numbers."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from isd_core.fitting import Standardised, Tensors
from isd_core.support import cli
from isd_core.training.config import TrainerConfig
from isd_core.training.ema import ConstantDecay
from isd_core.training.optimizer import AdamW, OptimizerConfig
from isd_core.training.trainer import Trainer
from scripts.support.heads import taught, teachers_place

NAMES = sorted(path.stem for path in (cli.CONFIGS / "objective").glob("*.yaml"))
aten = torch.ops.aten
WAITS = {aten._local_scalar_dense, aten.is_nonzero, aten.nonzero, aten.masked_select, aten.equal, aten._unique2}


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = func.overloadpacket in (aten.index, aten.index_put, aten.index_put_) and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if func.overloadpacket in WAITS or masks:
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


class NoCopies(TorchFunctionMode):
    """Numbers of the host that are made on a device by `torch.tensor` are copied in the host's presence."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.tensor and isinstance((kwargs or {}).get("device"), torch.device):
            raise AssertionError("torch.tensor waits for the device")
        return func(*args, **(kwargs or {}))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.drop, self.last = torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2)

    def forward(self, x, t, s, cond):
        return self.last(self.drop(torch.tanh(self.first(torch.cat([x, t[:, None], s[:, None]], 1)))))


DATA = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))


def trainer(run_dir, name="isd", *words, **fields):
    place = teachers_place(name)
    teacher = [f"objective.{place}.checkpoint=unused"] if place else []
    config = cli.resolved(cli.compose_config("policy_train", ["data=x", f"objective={name}", *teacher, *words]))
    fields = {"steps": 9, "batch_size": 32, "warmup": 2, "device": "cpu", "log_every": 3} | fields
    objective = taught(config["objective"], Net())
    return Trainer(
        Standardised(Net(), DATA),
        objective,
        Tensors(DATA, {}),
        TrainerConfig(**fields),
        run_dir=run_dir,
        seed=0,
        config={},
        kind="toy",
    )


CASES = [(name, (), {}) for name in NAMES] + [
    ("isd", (), {"accumulate": 2, "averages": {"short": ConstantDecay(0.9)}}),
    ("isd", (), {"precision": "bfloat16", "clip_norm": None}),
    ("isd", ("derivative=jvp",), {}),
    ("isd", ("weighting=learned",), {}),
    ("isd", ("weighting=adaptive",), {}),
]


@pytest.mark.parametrize("name, words, fields", CASES, ids=lambda case: str(case) if case else "plain")
def test_no_step_waits_for_the_device(tmp_path, monkeypatch, name, words, fields):
    made = trainer(tmp_path, name, *words, **fields)
    if path := getattr(made.loss.objective, "path", None):
        monkeypatch.setattr(type(path), "nu", path.nu)  # it is read from a tensor that is on the host on any device
    try:
        for _ in range(2):  # the first also makes the optimiser's state
            with NoWaiting(), NoCopies():
                made.train_step()
    finally:
        made.close()


class PlainAdam(OptimizerConfig):
    lr = 1e-3

    def build(self, module):
        return torch.optim.AdamW(module.parameters(), self.lr, foreach=False)


def test_the_mode_sees_a_wait_and_an_optimiser_that_is_not_fused_is_one(tmp_path):
    made = trainer(tmp_path, optimizer=PlainAdam())
    with pytest.raises(AssertionError, match=r"_local_scalar_dense.*waits"), NoWaiting():
        made.train_step()
    made.close()


class Spoilt(Tensors):
    """Some steps' data are not numbers."""

    def __init__(self, bad):
        super().__init__(DATA, {})
        self.bad, self.asked = bad, 0

    def batch(self, indices):
        self.asked += 1
        found = super().batch(indices)
        return found | {"x": found["x"] * float("nan")} if self.asked - 1 in self.bad else found


def weights_and_state(made):
    state = [value for entry in made.optimizer.state.values() for value in entry.values()]
    return [value.clone() for value in (*made.model.net.state_dict().values(), *state)]


@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-2), PlainAdam()], ids=["on the device", "by the host"])
def test_a_bad_gradient_changes_neither_weights_nor_the_optimisers_state(tmp_path, optimizer):
    made = trainer(tmp_path, "flow_matching", optimizer=optimizer)
    made._batches._batch = Spoilt({1, 2}).batch
    made.train_step()
    before = weights_and_state(made)
    made.train_step()
    made.train_step()
    assert all(torch.equal(a, b) for a, b in zip(before, weights_and_state(made), strict=True))
    assert made.skipped == 2
    made.train_step()
    after = weights_and_state(made)
    assert made.skipped == 0 and not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(bool(value.isfinite().all()) for value in after)
    made.close()


class Record:
    def __init__(self):
        self.records = []

    def log(self, record):
        self.records.append(record)


@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-2), PlainAdam()], ids=["on the device", "by the host"])
def test_skipped_steps_are_told_in_the_next_record(tmp_path, optimizer):
    made = trainer(tmp_path, "flow_matching", optimizer=optimizer, checkpoint_every=2, diagnose_every=0)
    made._batches._batch = Spoilt({1, 3, 4}).batch
    log = Record()
    made.run([log])
    assert [record.get("skipped") for record in log.records] == [1, 2, None]
