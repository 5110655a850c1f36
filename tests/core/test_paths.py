import math
from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from isd_core.paths import Coefficients, Path, VarianceExploding
from isd_core.support.errors import InputError


def test_derivatives_of_the_coefficients_are_derivatives(path):
    t = torch.linspace(path.end + 0.01, path.T, 17, dtype=torch.float64)
    first = torch.func.jvp(lambda t: path.coefficients(t)[:2], (t,), (torch.ones_like(t),))[1]
    second = torch.func.jvp(lambda t: path.coefficients(t)[2:4], (t,), (torch.ones_like(t),))[1]
    c = path.coefficients(t)
    assert_close(torch.stack(first), torch.stack([c.d_alpha, c.d_sigma]))
    assert_close(torch.stack(second), torch.stack([c.dd_alpha, c.dd_sigma]))


def test_nu_is_one(path):
    assert math.isclose(path.nu, 1.0)


def test_ends_are_data_and_noise(path):
    start = path.coefficients(torch.tensor(0.0, dtype=torch.float64))
    assert_close(torch.stack(start[:2]), torch.tensor([1.0, 0.0], dtype=torch.float64))
    z = torch.randn(5, dtype=torch.float64)
    c = path.coefficients(torch.tensor(path.T, dtype=torch.float64))
    assert_close(path.prior(z), c.sigma * z)


def test_sampling_times_fall_from_noise_to_the_end(path):
    times = path.times(4)
    assert times[0] == path.T and times[-1] == path.end
    assert (times.diff() < 0).all()


def test_a_path_without_constant_nu_is_refused_with_its_name_and_two_times():
    @dataclass(frozen=True)
    class Cosine(Path):
        """alpha = 1 - t^2, sigma = t."""

        T = 1.0

        def coefficients(self, t):
            one, zero = torch.ones_like(t), torch.zeros_like(t)
            return Coefficients(1 - t**2, t, -2 * t, one, -2 * one, zero)

    with pytest.raises(InputError, match=r"Cosine .* at t = 0 and 2 at t = 1"):
        Cosine()


def test_variance_exploding_times_follow_edm():
    times = VarianceExploding().times(18)
    expected = (80 ** (1 / 7) + 9 / 18 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert math.isclose(times[9], expected, rel_tol=1e-12)
