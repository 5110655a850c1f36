import math
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from isd_core.closed_form import Gaussian
from isd_core.derivatives import CentralDifference, ExactJVP
from isd_core.networks.mlp import MLP
from isd_core.objectives.lagrangian import Lagrangian
from isd_core.paths import Linear, Trigonometric, VarianceExploding
from isd_core.support.errors import InputError
from isd_core.times import LogNormalPair


def direction(net, path, x, t, s, derivative):
    v = torch.sin(x)
    return derivative.along(net, x, t, s, {}, dx=v, dt=1.0, unit=path.unit(t))


def test_differences_equal_the_exact_derivative_in_float64(path, points):
    x, t, s = points
    net = MLP(3, clock=path.clock).double()
    exact = direction(net, path, x, t, s, ExactJVP())
    differences = direction(net, path, x, t, s, CentralDifference(eps=1e-4))
    assert_close(differences, exact, atol=1e-6, rtol=1e-6)


def test_the_error_of_differences_is_of_second_order(path, points):
    x, t, s = points
    truth = Gaussian(path, mean=0.2, std=0.6)
    exact = direction(truth, path, x, t, s, ExactJVP())
    errors = [
        (direction(truth, path, x, t, s, CentralDifference(eps=eps)) - exact).abs().mean() for eps in (8e-3, 4e-3, 2e-3)
    ]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(abs(order - 2) < 0.05 for order in orders), orders


def test_the_derivative_in_s_alone(path, points):
    x, t, s = points
    truth = Gaussian(path, mean=0.2, std=0.6)
    exact = ExactJVP().along(truth, x, t, s, {}, ds=1.0)
    differences = CentralDifference(eps=1e-4).along(truth, x, t, s, {}, ds=1.0, unit=path.unit(s))
    assert_close(differences, exact, atol=1e-6, rtol=1e-5)


def test_the_lagrangian_residual_moves_s_by_the_scale_of_s():
    """With noise levels over five decades: a width that follows t leaves the path at small s, s - h < 0."""
    path, truth = VarianceExploding(), Gaussian(VarianceExploding(), std=0.5)
    seen = []

    class Seen(CentralDifference):
        def along(self, net, x, t, s, cond, **how):
            found = super().along(net, x, t, s, cond, **how)
            seen.append((s, how["unit"], found, ExactJVP().along(net, x, t, s, cond, ds=1.0)))
            return found

    x = truth.sample((4000, 1), torch.Generator().manual_seed(0), torch.float64)
    net = lambda x, t, s, cond: truth(x.double(), t.double(), s.double())  # noqa: E731
    Lagrangian(path, LogNormalPair(), derivative=Seen())(net, x, {}, torch.Generator().manual_seed(1), 0)
    s, unit, found, exact = seen[0]
    assert (s - 0.005 * unit > 0).all()
    error = ((found - exact).norm(dim=1) / exact.norm(dim=1)).nan_to_num(0)
    assert error.quantile(0.99) < 1e-3, error.quantile(0.99)


@pytest.mark.parametrize("derivative", [ExactJVP(), CentralDifference()])
def test_no_graph_is_kept_unless_it_is_asked_for(derivative, rng):
    net = MLP(2, clock=Linear().clock)
    x, t = torch.randn(4, 2, generator=rng), torch.full((4,), 0.7)
    assert not derivative.along(net, x, t, t / 2, {}, dx=x, dt=1.0).requires_grad
    assert derivative.along(net, x, t, t / 2, {}, dx=x, dt=1.0, graph=True).requires_grad


@pytest.mark.parametrize("derivative", [ExactJVP(), CentralDifference(eps=1e-4)])
def test_a_rescaled_clock_leaves_the_derivative_in_path_time(derivative, rng):
    """Networks that are equal as functions of path time have equal derivatives, whatever clock they run on."""
    path = Trigonometric()
    by_radian = lambda x, t, s, cond: x * torch.sin(t)[:, None]  # noqa: E731
    by_unit = lambda x, t, s, cond: x * torch.sin(path.clock(t) * path.T)[:, None]  # noqa: E731
    x = torch.randn(8, 2, generator=rng, dtype=torch.float64)
    t = torch.rand(8, generator=rng, dtype=torch.float64) * path.T
    v = torch.cos(x)
    results = [derivative.along(net, x, t, t / 2, {}, dx=v, dt=1.0) for net in (by_radian, by_unit)]
    expected = v * torch.sin(t)[:, None] + x * torch.cos(t)[:, None]
    assert_close(results[0], results[1])
    assert_close(results[1], expected, atol=1e-7, rtol=1e-7)


def test_differences_run_in_float32_under_autocast(rng):
    seen = []

    def net(x, t, s, cond):
        seen.append((torch.is_autocast_enabled("cpu"), x.dtype))
        return x * t[:, None]

    x, t = torch.randn(4, 2, generator=rng), torch.full((4,), 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        CentralDifference().along(net, x, t, t, {}, dx=x.bfloat16(), dt=1.0)
        CentralDifference(precision="autocast", eps=0.02).along(net, x, t, t, {}, dx=x.bfloat16(), dt=1.0)
    assert seen == [(False, torch.float32), (True, torch.float32)]


def test_bfloat16_differences_are_noise_and_float32_ones_are_not(rng):
    """Why the two passes run in float32: at eps 5e-3 bfloat16 leaves tens of percent of error."""
    net = MLP(8, clock=Linear().clock)
    x, t = torch.randn(512, 8, generator=rng), torch.rand(512, generator=rng)
    v = torch.randn(512, 8, generator=rng)
    exact = ExactJVP().along(net, x, t, t / 2, {}, dx=v, dt=1.0)

    def error(precision):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = CentralDifference(precision=precision).along(net, x, t, t / 2, {}, dx=v, dt=1.0)
        return float((found - exact).norm() / exact.norm())

    assert error("float32") < 1e-3
    assert error("autocast") > 0.1


def test_a_bad_precision_or_eps_is_refused():
    with pytest.raises(InputError, match="precision"):
        CentralDifference(precision="half")
    with pytest.raises(InputError, match="eps"):
        CentralDifference(eps=0.0)
