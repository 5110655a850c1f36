"""The field of drifting: equilibrium where samples have the data's law, forces within one condition alone."""

import pytest
import torch
from torch.testing import assert_close

from isd_core.closed_form import Gaussian
from isd_core.objectives.drifting import Drifting, same_condition
from isd_core.paths import Linear
from isd_core.support import cli
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from tests.core.objectives.truth import expected_gradient

PATH = Linear()


def test_samples_of_the_datas_law_do_not_drift_and_others_drift_to_it():
    """The mean gradient at the exact map is a small part of that at a map whose samples are shifted and too wide, which
    points back: a network that adds to F moves its samples down, so the gradient in the shift is positive."""
    objective = Drifting(PATH, samples=2, temperatures=(0.2, 0.5))
    data = Gaussian(PATH, mean=0.4, std=0.6)
    there, error = expected_gradient(objective, data, batches=30, size=400)

    class Away(Gaussian):
        def sample(self, shape, rng, dtype=torch.float32):
            return data.sample(shape, rng, dtype)

    away, _ = expected_gradient(objective, Away(PATH, mean=0.8, std=0.9), batches=30, size=400)
    assert (there.abs() < 4 * error + 0.03 * away.abs().max()).all(), (there, error, away)
    assert away[0] < 0 and away.abs().max() > 20 * error.max()


def test_the_field_is_attraction_less_repulsion():
    """By hand at one sample: V = shift to the data - shift to the other samples, which changes its sign when they are
    exchanged; distances in units of the mean one."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 2, generator=rng), 1 + torch.randn(3, 2, generator=rng)
    found = Drifting(PATH, samples=2, temperatures=(0.5, 2.0)).field(x, y, torch.ones(6, 6, dtype=torch.bool))
    unit, probe = torch.cdist(x, y).mean(), x[:1]
    shift = lambda to, tau: torch.softmax(-torch.cdist(probe, to) / (tau * unit), 1) @ to - probe  # noqa: E731
    assert_close(found[:1], sum(shift(y, tau) - shift(x[1:], tau) for tau in (0.5, 2.0)))


def test_forces_act_within_a_condition_alone():
    rng = torch.Generator().manual_seed(0)
    objective = Drifting(PATH, samples=3)
    label = torch.tensor([0, 1, 0, 1]).repeat_interleave(3)
    same = same_condition({"label": label}, 12, label.device)
    x, y = torch.randn(12, 2, generator=rng), torch.randn(4, 2, generator=rng)
    moved_x, moved_y = x.clone(), y.clone()
    moved_x[label == 1] = moved_x[label == 1].flip(0)  # the mean distance stays
    before, after = objective.field(x, y, same), objective.field(moved_x, moved_y, same)
    assert_close(after[label == 0], before[label == 0])
    alone = objective.field(x[:3], y[:1], torch.ones(3, 3, dtype=torch.bool))
    assert torch.isfinite(alone).all()


def test_per_step_the_field_is_that_of_each_step():
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 3, 2, generator=rng), torch.randn(4, 3, 2, generator=rng)
    same = torch.ones(8, 8, dtype=torch.bool)
    chunk = Drifting(PATH, samples=2, per_step=True, temperatures=(1e6,)).field(x, y, same)
    steps = [Drifting(PATH, samples=2, temperatures=(1e6,)).field(x[:, i], y[:, i], same) for i in range(3)]
    assert_close(chunk, torch.stack(steps, 1), atol=1e-4, rtol=1e-4)


def test_it_is_sampled_in_one_step_and_has_no_use_for_guidance():
    config = cli.resolved(cli.compose_config("image_train", ["objective=drifting", "run_dir=x"]))
    assert config["guidance"]["type"] == "none"
    with pytest.raises(InputError, match="at most 1"):
        build("sampler", config["sampler"]).check_nfe(2)
    with pytest.raises(InputError, match="temperatures"):
        Drifting(PATH, temperatures=())
