"""Averages by power functions, and those of other lengths after the training."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.support import cli
from isd_core.support.errors import InputError
from isd_core.training import checkpoint
from isd_core.training.ema import EMA, PowerFunctionDecay, gamma_of
from isd_core.training.post_hoc import Profile, coefficients, overlap, reconstructed, stored_averages
from isd_core.training.reconstruct import main

LAWS = {"short": PowerFunctionDecay(0.05), "long": PowerFunctionDecay(0.1)}
STEPS, KEPT = 400, 25


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.25])
def test_a_profile_has_its_length(length):
    """The weights of the steps by the recursion: k^gamma, with the standard deviation that was asked for."""
    law, steps = PowerFunctionDecay(length), 20_000
    decays = torch.tensor([law(k) for k in range(1, steps + 1)], dtype=torch.float64)
    later = torch.cat([decays[1:].flip(0).cumprod(0).flip(0), torch.ones(1, dtype=torch.float64)])
    weights = (1 - decays) * later
    assert weights.sum() == pytest.approx(1)
    k = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    mean = (weights * k).sum()
    assert float((weights * (k - mean) ** 2).sum().sqrt()) == pytest.approx(length, rel=0.01)
    assert float(weights[-1] / weights[steps // 2 - 1]) == pytest.approx(2**law.gamma, rel=0.01)


def test_the_published_pair():
    """EDM2: sigma_rel .05 and .10 are gamma 16.97 and 6.94."""
    assert [round(gamma_of(length), 2) for length in (0.05, 0.1)] == [16.97, 6.94]


def test_overlaps_are_integrals():
    a, b = Profile(300, 6.94), Profile(400, 2.5)
    k = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 1000
    profile = lambda p: torch.where(k < p.steps, (p.gamma + 1) * k**p.gamma / p.steps ** (p.gamma + 1), 0)  # noqa: E731
    assert overlap(a, b) == pytest.approx(float((profile(a) * profile(b)).sum() / 1000), rel=1e-5)
    assert overlap(a, b) == overlap(b, a)


def test_a_stored_profile_is_its_own_reconstruction():
    stored = [Profile(steps, LAWS[name].gamma) for steps in (100, 200, 400) for name in LAWS]
    assert_close(coefficients(stored, stored[-1]), torch.eye(6, dtype=torch.float64)[-1], atol=1e-6, rtol=0)


@pytest.fixture
def run(tmp_path):
    """Checkpoints of a walk of a weight, and the averages of other lengths, tracked while it went."""
    torch.manual_seed(0)
    module = nn.Linear(50, 1)
    kept = {f"ema_{name}": EMA(module, law) for name, law in LAWS.items()}
    truth = {length: EMA(module, PowerFunctionDecay(length)) for length in (0.04, 0.075, 0.12, 0.15)}
    config = {"trainer": {"averages": {n: {"type": "power_function", "length": x.length} for n, x in LAWS.items()}}}
    for step in range(1, STEPS + 1):
        with torch.no_grad():
            module.weight += 0.1 * torch.randn(1, 50) + 0.02
        for average in (*kept.values(), *truth.values()):
            average.update(module)
        if step % KEPT == 0:
            tensors = {"model": module.state_dict()} | {name: average.state for name, average in kept.items()}
            meta = {"kind": "toy", "seed": 0, "seconds": 0.0, "ema_updates": step, "config": config}
            checkpoint.save(tmp_path / "run", step, tensors, meta)
    return tmp_path / "run", truth, module


def test_another_length_is_what_tracking_it_would_have_given(run):
    folder, truth, module = run
    stored = stored_averages(folder)
    assert len(stored) == 2 * STEPS // KEPT
    for length, tracked in truth.items():
        found = reconstructed(stored, length)["weight"]
        distance = (tracked.state["weight"] - module.weight).norm()
        assert (found - tracked.state["weight"]).norm() < 0.03 * distance, length
    assert (truth[0.04].state["weight"] - truth[0.15].state["weight"]).norm() > 0.3 * distance


def test_the_command_writes_a_checkpoint(run, tmp_path, capsys):
    words = [f"run_dir={run[0]}", "length=0.075", f"out={tmp_path / 'out'}"]
    assert cli.run(main.function, "average_reconstruct", words) == 0
    saved = checkpoint.load(tmp_path / "out")
    assert saved.step == STEPS and saved.meta["reconstructed"]["length"] == 0.075
    assert_close(saved.tensors("ema")["weight"], reconstructed(stored_averages(run[0]), 0.075)["weight"])
    assert cli.run(main.function, "average_reconstruct", words) == 2
    assert "holds checkpoints already" in capsys.readouterr().err


def test_a_run_without_such_averages_says_what_to_train_with(tmp_path):
    with pytest.raises(InputError, match=r"power_function.*keep_checkpoints"):
        stored_averages(tmp_path)


def test_the_longest_length_is_that_of_equal_weights():
    assert math.isclose(gamma_of(12**-0.5), 0, abs_tol=1e-6)
