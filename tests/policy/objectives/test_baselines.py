"""The policies' own objectives have their own fixed points, and their samplers reach the data."""

import pytest
import torch
from torch.testing import assert_close

from isd_core.paths import Linear
from isd_core.support.errors import InputError
from isd_policy.objectives.ddpm import DDPM, DiffusionSampler, scheduler
from isd_policy.objectives.mip import MIP, MIPSampler
from isd_policy.objectives.regression import Regression, RegressionSampler

MEAN, STD = 0.1, 0.25


def gradient_at(truth, objective, n=200_000):
    """The mean gradient in theta of F* + theta (1, x) at theta = 0 on N(MEAN, STD^2) data, and its standard error."""
    gradients = []
    for seed in range(20):
        theta = torch.zeros(2, requires_grad=True)
        net = lambda x, t, s, cond: truth(x, t) + theta[0] + theta[1] * x  # noqa: E731, B023
        rng = torch.Generator().manual_seed(seed)
        x = MEAN + STD * torch.randn(n // 20, 1, generator=rng)
        gradients.append(torch.autograd.grad(objective(net, x, {}, rng, 0).loss, theta)[0])
    stacked = torch.stack(gradients)
    return stacked.mean(0), stacked.std(0) / 20**0.5


def test_regressions_fixed_point_is_the_conditional_mean():
    mean, error = gradient_at(lambda x, t: torch.full_like(x, MEAN), Regression(Linear()))
    assert (mean.abs() < 4 * error + 1e-6).all()


def mip_truth(x, t):
    """E[x] at t = 1 and E[x | x + 0.1 z] at t = 0.1."""
    posterior = MEAN + STD**2 / (STD**2 + 0.1**2) * (x - MEAN)
    return torch.where(t[:, None] > 0.5, torch.full_like(x, MEAN), posterior)


def test_mips_fixed_points_are_the_mean_and_the_denoiser():
    mean, error = gradient_at(mip_truth, MIP(Linear()))
    assert (mean.abs() < 4 * error + 1e-6).all(), (mean, error)


def test_mips_weights():
    out = MIP(Linear())(lambda x, t, s, cond: 0 * x, torch.ones(4, 1), {}, torch.Generator(), 0)
    assert_close(out.loss, torch.tensor(1 / 0.81 + 1 / 0.01))


def noise_truth(x, t):
    """E[z | x_k] of Gaussian data under diffusers' schedule."""
    alphas = scheduler("ddpm").alphas_cumprod[(t * 100).round().long() - 1][:, None]
    return (1 - alphas).sqrt() / (alphas * STD**2 + 1 - alphas) * (x - alphas.sqrt() * MEAN)


def test_ddpms_fixed_point_is_the_expected_noise():
    mean, error = gradient_at(noise_truth, DDPM(Linear()))
    assert (mean.abs() < 4 * error + 1e-6).all(), (mean, error)


@pytest.mark.parametrize("kind, nfe", [("ddpm", 100), ("ddim", 100), ("ddim", 10)])
def test_the_samplers_reach_the_data_with_the_true_noise(kind, nfe):
    z = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    x = DiffusionSampler(Linear(), kind)(lambda x, t, s, cond: noise_truth(x, t), z, nfe, {})
    assert abs(x.mean() - MEAN) < 0.02
    assert abs(x.std() / STD - 1) < (0.08 if nfe == 100 else 0.25)


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
def test_a_row_does_not_depend_on_its_batch(kind):
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    net = lambda x, t, s, cond: noise_truth(x, t)  # noqa: E731
    whole = DiffusionSampler(Linear(), kind)(net, z, 10, {})
    alone = DiffusionSampler(Linear(), kind)(net, z[3:4], 10, {})
    assert_close(whole[3:4], alone)


def test_the_deterministic_samplers_use_no_noise():
    net = lambda x, t, s, cond: mip_truth(x, t)  # noqa: E731
    for sampler, nfe in ((RegressionSampler(Linear()), 1), (MIPSampler(Linear()), 1), (MIPSampler(Linear()), 2)):
        assert_close(sampler(net, torch.randn(3, 1), nfe, {}), torch.full((3, 1), MEAN))


@pytest.mark.parametrize(
    "sampler, nfe", [(RegressionSampler(Linear()), 2), (MIPSampler(Linear()), 3), (DiffusionSampler(Linear()), 101)]
)
def test_too_many_evaluations_are_refused(sampler, nfe):
    with pytest.raises(InputError, match=f"nfe={nfe}"):
        sampler(lambda x, t, s, cond: x, torch.zeros(1, 1), nfe, {})
