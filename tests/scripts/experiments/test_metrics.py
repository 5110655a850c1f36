"""The experiments' measures, against closed forms."""

import math

import pytest
import torch

from isd_core.closed_form import Gaussian, Mixture
from isd_core.paths import Linear, Trigonometric, VarianceExploding
from scripts.experiments import metrics
from scripts.support.memory import peak_bytes

PATHS = [Linear(), Trigonometric(), VarianceExploding()]
STD = 0.5


@pytest.fixture
def points():
    rng = torch.Generator().manual_seed(0)
    data = Gaussian(Linear(), std=STD)
    return data, data.sample((256, 2), rng, torch.float64), torch.randn(256, 2, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("law", metrics.LAWS)
def test_the_residuals_of_the_true_map_are_zero_on_every_path(path, law, points):
    data, x, z = points
    truth = Gaussian(path, std=STD)
    found = metrics.residuals(truth, path, data, x, z, law)
    assert max(found.exact, found.own, found.diagonal) < 1e-10


def test_the_residual_of_a_resting_map_is_the_mean_square_of_the_velocity(points):
    data, x, z = points
    rest = lambda x, t, s, cond: torch.zeros_like(x)  # noqa: E731
    t, _ = metrics.LAWS["pair"].sample(len(x), Linear(), torch.Generator().manual_seed(0), 0)
    t = t.double().clamp(metrics.EARLIEST, metrics.LATEST)
    expected = data.velocity((1 - t[:, None]) * x + t[:, None] * z, t).square().sum(1).mean()
    found = metrics.residuals(rest, Linear(), data, x, z, "pair")
    assert (found.exact, found.own, found.diagonal) == pytest.approx((float(expected), 0, float(expected)))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_steepness_of_an_affine_map_is_its_factor(path):
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = metrics.LATEST
    factor = STD / math.sqrt((1 - t) ** 2 * STD**2 + t**2)
    # sigma_min of the variance-exploding path is not quite s = 0
    assert metrics.steepness(Gaussian(path, std=STD), path, x) == pytest.approx(factor * math.sqrt(2), rel=4e-3)


def test_the_integrated_map_of_one_mode_is_the_affine_one():
    data = Mixture(Linear(), ((0.0, 0.0),), STD)
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = metrics.steepness(Gaussian(Linear(), std=STD), Linear(), x)
    assert metrics.true_steepness(data, x) == pytest.approx(exact, rel=1e-6)


def test_energy_distance_of_two_points_is_known():
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [5.0]])
    # pairs: |0-2| |0-5| |1-2| |1-5| -> mean 3; within 1 and 3
    assert metrics.energy_distance(a, b) == pytest.approx(2 * 3 - 1 - 3)


def test_energy_distance_of_the_same_law_is_about_zero():
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 2000, 2, generator=rng)
    assert abs(metrics.energy_distance(a, b)) < 0.005


def test_modes_counts_shares_and_strays():
    data = Mixture(Linear(), ((0.0, 0.0), (3.0, 0.0)), 0.1)
    samples = torch.tensor([[0.1, 0.0], [0.0, 0.2], [3.0, 0.1], [1.5, 0.0]])
    found = metrics.modes(samples, data, 0.4, 2)
    assert found.far == 0.25
    assert found.masses == [0.5, 0.25]


def test_rank_correlation_is_one_for_monotone_pairs():
    assert metrics.rank_correlation([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1.0)


def test_rank_correlation_needs_points_that_vary():
    assert metrics.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None


def test_peak_memory_counts_what_lives_at_once():
    def work():
        x = torch.zeros(1000)
        for _ in range(10):
            x = x + 1
        return x

    assert peak_bytes(work, torch.device("cpu")) == 2 * 4000


def test_peak_memory_counts_what_a_backward_pass_keeps():
    weight = torch.zeros(1000, requires_grad=True)

    def work():
        y = weight
        for _ in range(5):
            y = torch.sin(y)
        return y.sum()

    assert peak_bytes(work, torch.device("cpu")) >= 5 * 4000
