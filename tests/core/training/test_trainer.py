import json
import os
import signal

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.network import Trainable
from isd_core.networks.mlp import MLP
from isd_core.objectives.base import Draw, LossOut, Objective
from isd_core.objectives.eulerian import Eulerian
from isd_core.paths import Linear
from isd_core.support.device import pick_device
from isd_core.support.errors import InputError
from isd_core.training import checkpoint
from isd_core.training.config import TrainerConfig
from isd_core.training.ema import EMA, ConstantDecay, PowerDecay
from isd_core.training.loggers import JsonlLogger, read_log
from isd_core.training.optimizer import AdamW
from isd_core.training.trainer import DivergedError, Trainer
from isd_core.velocities import Conditional


class Points:
    def __init__(self, n=50):
        self.x = 1 + 0.2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return {"x": self.x[indices]}


class Toy(Trainable):
    """An MLP with dropout, so that a run also depends on the global generator."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = MLP(2, clock=Linear().clock, width=16, depth=1)
        self.drop = nn.Dropout(0.01)

    def prepare(self, batch, rng):
        return self.drop(batch["x"]), {}


def trainer(run_dir, objective=None, seed=0, config=None, **fields):
    fields = {"steps": 12, "batch_size": 8, "warmup": 2, "device": "cpu", "checkpoint_every": 100} | fields
    return Trainer(
        Toy(),
        objective or Eulerian(Linear()),
        Points(),
        TrainerConfig(**fields),
        run_dir=run_dir,
        seed=seed,
        config=config or {"seed": seed},
        kind="toy",
    )


def tensors(run_dir):
    saved = checkpoint.load(run_dir)
    return {name: saved.tensors(name) for name in ("model", "ema", "optimizer")}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, precision):
    trainer(tmp_path / "whole", precision=precision).run()
    trainer(tmp_path / "parts", precision=precision).run(until=6)
    trainer(tmp_path / "parts", precision=precision).run()
    assert_close(tensors(tmp_path / "parts"), tensors(tmp_path / "whole"), atol=0, rtol=0)


def test_the_seed_decides_the_run(tmp_path):
    trainer(tmp_path / "a", seed=1).run()
    trainer(tmp_path / "b", seed=2).run()
    weight = "net.body.0.weight"
    assert not torch.equal(tensors(tmp_path / "a")["model"][weight], tensors(tmp_path / "b")["model"][weight])


def test_training_learns_and_the_log_says_so(tmp_path):
    t = trainer(tmp_path, steps=300, log_every=50, optimizer=AdamW(lr=3e-3))
    logger = JsonlLogger(tmp_path)
    t.run([logger])
    logger.close()
    log = read_log(tmp_path / "log.jsonl")
    assert [record["step"] for record in log] == [50, 100, 150, 200, 250, 300]
    assert {"loss", "flow", "residual", "grad_norm", "lr", "seconds"} <= log[0].keys()
    assert log[-1]["flow"] < 0.8 * log[0]["flow"]


def test_lines_beyond_the_resumed_step_leave_the_log(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    JsonlLogger(tmp_path, step=2).close()
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1}, {"step": 2}]


class Exploding(Objective):
    """Its gradient is not finite in the steps that it is told."""

    def __init__(self, bad):
        self.bad = bad

    def draw(self, x, cond, rng, step):
        t = torch.ones(len(x))
        return Draw(x, x, t, t, cond, float("nan") if step in self.bad else 1.0)

    def loss(self, net, draw):
        return LossOut(net(draw.x, draw.t, draw.s, draw.cond).square().mean() * draw.extra, {})


def test_a_bad_gradient_skips_the_step_and_is_counted(tmp_path):
    t = trainer(tmp_path, Exploding({0, 1}))
    before = {key: value.clone() for key, value in t.model.state_dict().items()}
    t.train_step()
    t.train_step()
    assert t.skipped == 2
    assert_close(t.model.state_dict(), before, atol=0, rtol=0)
    t.train_step()
    assert t.skipped == 0 and not torch.equal(t.model.net.body[0].weight, before["net.body.0.weight"])


def test_too_many_bad_gradients_in_a_row_stop_the_run_with_advice(tmp_path):
    with pytest.raises(DivergedError, match=r"3 steps in a row .*lr"):
        trainer(tmp_path, Exploding(set(range(4, 12))), max_skipped=3, log_every=1).run()


@pytest.mark.parametrize("every", [{"log_every": 10}, {"log_every": 100, "checkpoint_every": 10}])
def test_a_row_of_bad_gradients_that_ended_before_the_next_record_or_checkpoint_stops_it_there(tmp_path, every):
    with pytest.raises(DivergedError, match=r"4 steps in a row \(until step 10;"):
        trainer(tmp_path, Exploding(set(range(2, 6))), max_skipped=4, **every).run()
    assert not checkpoint.steps(tmp_path)


def test_a_row_across_a_record_counts_as_one(tmp_path):
    trainer(tmp_path, Exploding({2, 3, 4, 5}), max_skipped=5, log_every=4).run()
    with pytest.raises(DivergedError, match=r"4 steps in a row \(until step 8;"):
        trainer(tmp_path / "stopped", Exploding({2, 3, 4, 5}), max_skipped=4, log_every=4).run()


def test_sigterm_saves_and_ends_the_run(tmp_path):
    class Terminating(Eulerian):
        def draw(self, x, cond, rng, step):
            if step == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().draw(x, cond, rng, step)

    trainer(tmp_path, Terminating(Linear())).run()
    assert checkpoint.load(tmp_path).step == 5
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_config_does_not_resume_a_run(tmp_path):
    trainer(tmp_path, config={"seed": 0, "path": {"name": "linear"}}).run(until=2)
    with pytest.raises(InputError, match=r"path\.name=linear.*path\.name=trig"):
        trainer(tmp_path, config={"seed": 0, "path": {"name": "trig"}})


def test_more_steps_may_be_asked_for_on_resume(tmp_path):
    trainer(tmp_path, config={"trainer": {"steps": 12}}).run()
    longer = trainer(tmp_path, config={"trainer": {"steps": 14}}, steps=14)
    longer.run()
    assert checkpoint.load(tmp_path).step == 14


def test_but_not_where_a_curriculum_follows_the_length_of_the_run(tmp_path):
    """The refusal names trainer.steps, which the user set, and the curriculum that takes it."""

    def config(steps):
        alpha = {"type": "sigmoid", "steps": steps}
        return {"trainer": {"steps": steps}, "objective": {"intermediate": {"alpha": alpha}}}

    trainer(tmp_path, config=config(12)).run()
    with pytest.raises(InputError, match=r"trainer\.steps=12, .* 14\. .*objective\.intermediate\.alpha\.steps"):
        trainer(tmp_path, config=config(14), steps=14)


@pytest.mark.parametrize("batch, accumulate, fits", [(8, 1, True), (8, 2, True), (8, 4, False), (8, 8, False)])
def test_a_share_of_a_part_that_is_too_small_is_refused(tmp_path, batch, accumulate, fits):
    """A quarter of two rows is one of them: half of the batch would take the residual."""
    objective = Eulerian(Linear(), target=Conditional(), share=0.25)
    if fits:
        trainer(tmp_path, objective, batch_size=batch, accumulate=accumulate).run(until=1)
        return
    with pytest.raises(InputError, match=r"objective\.share=0\.25 of . rows.*expected at least 3"):
        trainer(tmp_path, objective, batch_size=batch, accumulate=accumulate)


def test_an_average_copies_buffers_and_averages_parameters():
    module = nn.BatchNorm1d(2, affine=True)
    average = EMA(module, ConstantDecay(0.5))
    with torch.no_grad():
        module.weight.fill_(3.0)
        module.running_mean.fill_(3.0)
        module.num_batches_tracked.fill_(7)
    average.update(module)
    assert_close(average.state["weight"], torch.full((2,), 2.0))
    assert_close(average.state["running_mean"], torch.full((2,), 3.0))
    assert average.state["num_batches_tracked"] == 7


def test_only_the_newest_checkpoints_stay(tmp_path):
    trainer(tmp_path, checkpoint_every=2, keep_checkpoints=3).run()
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step_00000008", "step_00000010", "step_00000012"]


def test_protected_checkpoints_stay_too(tmp_path):
    run = trainer(tmp_path, checkpoint_every=2, keep_checkpoints=1)
    run.protected = lambda: [checkpoint.folder(tmp_path, 4), checkpoint.folder(tmp_path, 8)]
    run.run()
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step_00000004", "step_00000008", "step_00000012"]


@pytest.mark.parametrize(
    "fields", [{"steps": 0}, {"schedule": "linear"}, {"precision": "float16"}, {"checkpoint_every": 0}]
)
def test_bad_trainer_fields_are_named(fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        TrainerConfig(**{"steps": 1, "batch_size": 1} | fields)


def test_an_absent_device_is_refused():
    with pytest.raises(InputError, match="device=nowhere"):
        pick_device("nowhere")


def test_the_learning_rate_warms_up_and_falls_to_zero(tmp_path):
    t = trainer(tmp_path, steps=100, warmup=10, optimizer=AdamW(lr=1.0))
    assert t.learning_rate(0) == 0.1 and t.learning_rate(9) == 1.0
    assert t.learning_rate(55) == pytest.approx(0.5)
    assert t.learning_rate(99) < 1e-3


def test_the_constant_ema_is_the_weighted_mean_of_the_weights():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = EMA(module, ConstantDecay(0.9))
    for value in (1.0, 2.0):
        nn.init.constant_(module.weight, value)
        ema.update(module)
    assert ema.state["weight"].item() == pytest.approx(0.9 * 0.1 * 1.0 + 0.1 * 2.0)


def test_further_averages_follow_laws_of_their_own_and_resume(tmp_path):
    def run(folder, **until):
        t = trainer(tmp_path / folder, ema=ConstantDecay(0.9), averages={"last": ConstantDecay(0.0)})
        return checkpoint.load(t.run(**until))

    run("parts", until=6)
    whole, parts = run("whole"), run("parts")
    assert_close(whole.tensors("ema_last"), whole.tensors("model"), atol=0, rtol=0)
    assert not torch.equal(whole.tensors("ema")["net.body.0.weight"], whole.tensors("model")["net.body.0.weight"])
    for name in ("ema", "ema_last"):
        assert_close(parts.tensors(name), whole.tensors(name), atol=0, rtol=0)


def test_the_power_law_starts_short_and_is_bounded():
    law = PowerDecay(0.75, 0.9999)
    assert law(1) == pytest.approx(1 - 2**-0.75)
    assert law(10**9) == 0.9999


def test_a_checkpoint_says_what_made_it(tmp_path):
    trainer(tmp_path).run()
    meta = json.loads((checkpoint.find(tmp_path) / "meta.json").read_text())
    assert meta["config"] == {"seed": 0} and meta["kind"] == "toy" and meta["step"] == 12
    assert {"torch", "numpy", "python"} <= meta["versions"].keys() and "git" in meta


def test_a_changed_byte_is_detected(tmp_path):
    file = trainer(tmp_path).run() / "ema.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"ema\.safetensors is damaged"):
        checkpoint.load(tmp_path).tensors("ema")


def test_a_run_without_checkpoint_and_a_newer_format_are_refused(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        checkpoint.load(tmp_path)
    folder = trainer(tmp_path).run()
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"format": 99}))
    with pytest.raises(InputError, match="format 99"):
        checkpoint.load(tmp_path)


def test_an_interrupted_save_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    first = trainer(tmp_path).run(until=3)
    monkeypatch.setattr(checkpoint, "write_json", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        trainer(tmp_path).run(until=6)
    assert checkpoint.find(tmp_path) == first
    assert not list((tmp_path / "checkpoints").glob(".*"))
