import math

import pytest
import torch

from isd_core.derivatives import CentralDifference, ExactJVP
from isd_core.paths import Linear
from isd_core.support.errors import InputError
from isd_policy.networks.unet1d import UNet1D

PUBLISHED = {
    "widths": (256, 512, 1024),
    "embedding": 256,
    "frequency_dim": 256,
    "hidden": 1024,
    "features": "t",
    "activation": "mish",
}
SMALL = {"widths": (8, 16), "embedding": 8, "frequency_dim": 8, "hidden": 8}


def network(**changes):
    torch.manual_seed(0)
    sizes = {"action_size": 3, "condition_size": 4, "horizon": 8, "clock": Linear().clock} | SMALL
    return UNet1D(**(sizes | changes))


def inputs(n=5, dtype=torch.float32):
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(n, 8, 3, generator=rng, dtype=dtype)
    t, s = torch.rand(2, n, generator=rng, dtype=dtype).sort(0, descending=True).values
    return x, t, s, {"obs": torch.randn(n, 4, generator=rng, dtype=dtype)}


@pytest.mark.parametrize("action_size, count", [(10, 65_768_970), (7, 65_763_591)])
def test_the_published_layout_has_the_published_number_of_parameters(action_size, count):
    """65.77M for Lift: 2 x 19 observations, absolute actions of size 10 (relative ones of size 7 take 5,379 less)."""
    net = network(action_size=action_size, condition_size=2 * 19, horizon=16, **PUBLISHED)
    assert sum(p.numel() for p in net.parameters()) == count


def test_the_published_layout_for_pictures_has_the_published_number_of_parameters():
    """255.6M: two cameras of 64 features and nine numbers, twice, absolute actions of size 10."""
    clock = Linear().clock
    wide = PUBLISHED | {"widths": (512, 1024, 2048), "embedding": 128, "frequency_dim": 128, "hidden": 512}
    with torch.device("meta"):
        net = UNet1D(action_size=10, condition_size=2 * (2 * 64 + 9), horizon=16, clock=clock, **wide)
    assert sum(p.numel() for p in net.parameters()) == 255_612_042


def test_output_has_the_shape_of_the_chunk():
    x, t, s, cond = inputs()
    assert network()(x, t, s, cond).shape == x.shape


@pytest.mark.parametrize("which", ["t", "s", "obs", "x"])
def test_output_depends_on_every_input(which):
    net, (x, t, s, cond) = network(), inputs()
    with torch.no_grad():
        before = net(x, t, s, cond)
        changed = {"x": x, "t": t, "s": s, "obs": cond["obs"]}
        changed[which] = changed[which] + 0.3
        after = net(changed["x"], changed["t"], changed["s"], {"obs": changed["obs"]})
    assert (after - before).abs().amax((1, 2)).min() > 1e-4


@pytest.mark.parametrize("which", ["omega", "t_min", "t_max"])
def test_a_guided_network_sees_the_interval_and_takes_none_for_no_guidance(which):
    net, (x, t, s, cond) = network(guided=True), inputs()
    none = {"omega": torch.ones(5), "t_min": torch.zeros(5), "t_max": torch.ones(5)}
    with torch.no_grad():
        before = net(x, t, s, cond)
        assert torch.equal(net(x, t, s, cond | none), before)
        after = net(x, t, s, cond | {which: torch.full((5,), 0.4)})
    assert (after - before).abs().amax((1, 2)).min() > 1e-4


def test_every_parameter_gets_a_gradient():
    net, (x, t, s, cond) = network(), inputs()
    net(x, t, s, cond).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_among_16_rows_a_row_s_bits_do_not_depend_on_its_place():
    net, (x, t, s, cond) = network(), inputs(16)
    order = torch.randperm(16)
    with torch.no_grad():
        rows, moved = net(x, t, s, cond), net(x[order], t[order], s[order], {"obs": cond["obs"][order]})
    assert torch.equal(moved, rows[order])


def test_finite_differences_equal_forward_mode():
    """Both are how objectives differentiate a network; the layers must support both."""
    net, (x, t, s, cond) = network().double(), inputs(dtype=torch.float64)
    v = torch.ones_like(x)
    exact = ExactJVP().along(net, x, t, s, cond, dx=v, dt=1.0)
    differences = CentralDifference(1e-3).along(net, x, t, s, cond, dx=v, dt=1.0)
    torch.testing.assert_close(differences, exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("derivative", [ExactJVP(), CentralDifference()], ids=["jvp", "difference"])
def test_compiled_derivatives_and_gradients_are_the_eager_ones(derivative, assert_derivative_compiles):
    """torch cannot trace the forward derivative of its own group normalisation."""
    assert_derivative_compiles(network(), derivative, *inputs())


def test_single_time_variant_ignores_s():
    net, (x, t, s, cond) = network(features="t"), inputs()
    with torch.no_grad():
        assert torch.equal(net(x, t, s, cond), net(x, t, s + 0.5, cond))


def test_time_derivative_stays_smooth():
    """The default frequencies keep dF/dt of the order of F, which a published table of 100 steps does not."""
    net, (x, t, s, cond) = network().double(), inputs(dtype=torch.float64)
    dF = ExactJVP().along(net, x, t, s, cond, dt=1.0)
    assert dF.std() < net(x, t, s, cond).std()


def test_shift_alone_has_fewer_parameters():
    count = {film: sum(p.numel() for p in network(film=film).parameters()) for film in ("shift", "scale_and_shift")}
    assert count["shift"] < count["scale_and_shift"]


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"widths": (8, 12)}, "multiple of groups=8"),
        ({"widths": ()}, "multiple of groups=8"),
        ({"kernel": 4}, "an odd number"),
        ({"horizon": 7}, "a multiple of 2"),
        ({"activation": "relu"}, "known are mish, silu"),
        ({"film": "scale"}, "scale_and_shift and shift"),
    ],
)
def test_sizes_that_do_not_fit_are_an_input_error(changes, match):
    with pytest.raises(InputError, match=match):
        network(**changes)


def test_bfloat16_stays_near_float32():
    net, (x, t, s, cond) = network(), inputs()
    with torch.no_grad():
        exact = net(x, t, s, cond)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(x, t, s, cond)
    assert (rounded - exact).norm() / exact.norm() < 0.05
    assert math.isfinite(float(rounded.sum()))
