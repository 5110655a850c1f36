import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.closed_form import Gaussian
from isd_core.derivatives import CentralDifference, ExactJVP
from isd_core.networks.mlp import MLP
from isd_core.objectives.eulerian import Eulerian
from isd_core.paths import Linear, Trigonometric
from isd_core.sampling import FlowMapSampler
from isd_core.times import LogNormalPair
from isd_core.training.ema import EMA, ConstantDecay


def test_the_distillation_term_vanishes_at_the_true_flow_map(path, rng):
    truth = Gaussian(path, mean=0.2, std=0.6)
    x = truth.sample((256, 3), rng, torch.float64)
    out = Eulerian(path, times=LogNormalPair(0.0, 0.5), derivative=ExactJVP())(truth, x, {}, rng, 0)
    assert out.terms["residual"].max() < 1e-12
    assert out.terms["flow"].mean() > 0.01  # the conditional velocity's variance stays


def test_the_target_carries_no_gradient(rng):
    """d loss / d parameters is that of |F_tt - c|^2 + |F_ts - c'|^2 with constants: check against a frozen copy."""
    net = MLP(2, clock=Linear().clock).double()
    frozen = MLP(2, clock=Linear().clock).double()
    frozen.load_state_dict(net.state_dict())
    calls = []

    def split(x, t, s, cond):
        calls.append(torch.is_grad_enabled())
        x, t, s = x.double(), t.double(), s.double()
        return net(x, t, s) if torch.is_grad_enabled() else frozen(x, t, s)

    x = torch.randn(32, 2, generator=rng, dtype=torch.float64)
    objective = Eulerian(Linear())
    objective(split, x, {}, torch.Generator().manual_seed(1), 0).loss.backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    plain = lambda x, t, s, cond: net(x.double(), t.double(), s.double())  # noqa: E731
    objective(plain, x, {}, torch.Generator().manual_seed(1), 0).loss.backward()
    assert_close([p.grad for p in net.parameters()], expected)
    assert all(p.grad is None for p in frozen.parameters())
    assert calls == [True, False]  # one graded call of 2B, one ungraded of 2B


@pytest.mark.parametrize("derivative", [ExactJVP(), CentralDifference()])
def test_a_weight_of_the_loss_is_per_sample_and_the_mean_is_over_the_batch(derivative, rng):
    net = MLP(2, clock=Linear().clock)
    x = torch.randn(16, 2, generator=rng)
    out = Eulerian(Linear(), derivative=derivative)(net, x, {}, rng, 0)
    assert_close(out.loss.detach(), (out.terms["flow"] + out.terms["residual"]).mean())


@pytest.fixture
def one_thread():
    """The same sums in the same order on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Radial(nn.Module):
    """F = a(|x|, t, s) x: what a ring's flow map is by symmetry, so that a few steps learn it."""

    def __init__(self, path):
        super().__init__()
        self.a = MLP(1, clock=path.clock, width=32, depth=2, max_frequency=1.0)

    def forward(self, x, t, s, cond):
        return self.a(x.norm(dim=1, keepdim=True), t, s) * x


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("path, steps", [(Linear(), 1500), (Trigonometric(), 2500)], ids=["linear", "trigonometric"])
def test_a_ring_keeps_its_radius_in_1_2_and_4_steps(path, steps):
    """2-D ring of radius 1.2. With dF/dt taken per unit of another clock (`isd_image.released.MixedClock`) the
    trigonometric path ends at 0.73 of the radius in one step."""
    rng = torch.Generator().manual_seed(3)
    torch.manual_seed(3)
    net, objective = Radial(path), Eulerian(path)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    ema = EMA(net, ConstantDecay(0.99))
    for step in range(steps):
        angle = 2 * torch.pi * torch.rand(256, generator=rng)
        x = 1.2 * torch.stack([angle.cos(), angle.sin()], dim=1)
        objective(net, x, {}, rng, step).loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        ema.update(net)
    net.load_state_dict(ema.state)
    with torch.no_grad():
        z = torch.randn(4000, 2, generator=rng)
        radii = {nfe: float(FlowMapSampler(path)(net, z, nfe, {}).norm(dim=1).mean()) for nfe in (1, 2, 4)}
    assert all(abs(radius / 1.2 - 1) < 0.03 for radius in radii.values()), radii
