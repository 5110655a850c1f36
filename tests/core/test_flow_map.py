import torch
from torch.testing import assert_close

from isd_core.closed_form import Gaussian, Mixture, Mixture1D
from isd_core.derivatives import ExactJVP
from isd_core.flow_map import FlowMap
from isd_core.sampling import FlowMapSampler


def test_the_jump_of_zero_length_is_the_identity_for_any_network(path, points):
    x, t, _ = points
    F = torch.randn_like(x)
    assert_close(FlowMap(path).jump(x, F, t, t), x)


def test_the_derivative_of_the_jump_in_s_on_the_diagonal_is_the_network(path, points):
    x, t, _ = points
    F = torch.randn_like(x)
    slope = torch.func.jvp(lambda s: FlowMap(path).jump(x, F, t, s), (t,), (torch.ones_like(t),))[1]
    assert_close(slope, F)


def test_target_equals_network_on_the_true_flow_map(path, points):
    """F = T(v*) for the closed-form map of Gaussian data: the Eulerian residual vanishes."""
    x, t, s = points
    truth = Gaussian(path, mean=0.3, std=0.6)
    v = truth.velocity(x, t)
    dF = ExactJVP().along(truth, x, t, s, {}, dx=v, dt=1.0)
    F = truth(x, t, s)
    assert_close(FlowMap(path).target(x, F, v, dF, t, s), F, atol=1e-12, rtol=1e-12)


def test_target_on_the_diagonal_is_the_velocity(path, points):
    x, t, _ = points
    F, v, dF = torch.randn_like(x), torch.randn_like(x), torch.randn_like(x)
    assert_close(FlowMap(path).target(x, F, v, dF, t, t), v)


def test_target_is_the_residual_nu_df_dt_plus_the_network(path, points):
    """T - F = nu df/dt along v, for a network that is no flow map at all."""
    x, t, s = points
    v = torch.randn_like(x)
    net = lambda x, t, s, cond: torch.sin(x * t[:, None] + s[:, None])  # noqa: E731
    flow_map = FlowMap(path)
    f = lambda x, t: flow_map.jump(x, net(x, t, s, {}), t, s)  # noqa: E731
    df = torch.func.jvp(f, (x, t), (v, torch.ones_like(t)))[1]
    dF = ExactJVP().along(net, x, t, s, {}, dx=v, dt=1.0)
    F = net(x, t, s, {})
    assert_close(flow_map.target(x, F, v, dF, t, s) - F, path.nu * df)


def test_endpoints_invert_the_interpolation(path, points, rng):
    x, t, _ = points
    z = torch.randn(x.shape, generator=rng, dtype=x.dtype)
    x_t, v_t = FlowMap(path).interpolate(x, z, t)
    x_hat, z_hat = FlowMap(path).endpoints(x_t, v_t, t)
    assert_close(x_hat, x)
    assert_close(z_hat, z)


def test_the_true_map_samples_the_data_at_every_number_of_steps(path, rng):
    """Pushing noise through the exact F gives the data's law: each quantile of x is that of the noise (a Gaussian)."""
    truth = Gaussian(path, mean=0.0, std=0.6)
    z = torch.randn(256, 3, generator=rng, dtype=torch.float64)
    end = torch.full((256,), path.end, dtype=torch.float64)
    T = torch.full((256,), path.T, dtype=torch.float64)
    expected = truth.flow(path.prior(z), T, end)
    for nfe in (1, 2, 4, 7):
        assert_close(FlowMapSampler(path)(truth, z, nfe, {}), expected)


def test_the_mixtures_map_is_transported_by_its_velocity(path, rng):
    """d/ds f(x; t, s) = v*(f, s) for the one-dimensional mixture's quantile map."""
    truth = Mixture1D(path)
    n = 32
    t = path.T * (0.5 + 0.4 * torch.rand(n, generator=rng, dtype=torch.float64))
    s = t * (0.3 + 0.5 * torch.rand(n, generator=rng, dtype=torch.float64))
    c = path.coefficients(t)
    x = c.alpha[:, None] * truth.sample(n, rng) + c.sigma[:, None] * torch.randn(n, 1, generator=rng, dtype=t.dtype)
    h = 1e-5
    slope = (truth.flow(x, t, s + h) - truth.flow(x, t, s - h)) / (2 * h)
    assert_close(slope, truth.velocity(truth.flow(x, t, s), s), atol=1e-6, rtol=1e-6)


def test_the_mixtures_velocity_is_the_mean_of_the_conditional_one(path, rng):
    """E[(v_t - v*) g(x_t)] = 0 for test functions g, within four standard errors."""
    truth = Mixture.on_circle(path, modes=3, radius=1.0, std=0.2)
    n = 40_000
    x, z = truth.sample(n, rng, torch.float64), torch.randn(n, 2, generator=rng, dtype=torch.float64)
    t = path.T * (0.1 + 0.85 * torch.rand(n, generator=rng, dtype=torch.float64))
    x_t, v_t = FlowMap(path).interpolate(x, z, t)
    gap = v_t - truth.velocity(x_t, t)
    for g in (torch.ones_like(x_t), x_t.tanh(), torch.sin(3 * x_t)):
        values = (gap * g).sum(1)
        assert values.mean().abs() < 4 * values.std() / n**0.5
