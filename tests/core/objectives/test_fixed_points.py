"""At the truth a continuous-time objective has no expected gradient; a finite-step one has one of its step's order."""

import math
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from isd_core.closed_form import Gaussian, Mixture1D
from isd_core.curricula import Constant
from isd_core.derivatives import CentralDifference, ExactJVP
from isd_core.intermediate import EasyRatio, Fraction, Midpoint, PreviousOnGrid, UniformIntermediate
from isd_core.objectives.eulerian import ClampedTarget, Eulerian, NormalisedTangent
from isd_core.objectives.flow_matching import FlowMatching
from isd_core.objectives.lagrangian import Lagrangian
from isd_core.objectives.semigroup import Semigroup
from isd_core.paths import Linear, Trigonometric, VarianceExploding
from isd_core.times import (
    BetaPair,
    Dyadic,
    FixedEnd,
    FromNoise,
    KarrasGrid,
    LogitNormal,
    LogitNormalGap,
    LogitNormalPair,
    LogNormal,
    LogNormalOnGrid,
    MixtureOfLaws,
    UniformOnGrid,
)
from isd_core.velocities import Averaged, Conditional, OwnDiagonal, Teacher
from isd_core.weighting import Adaptive
from tests.core.objectives.truth import Double, Perturbed, expected_gradient

COND, OWN, JVP = Conditional(), OwnDiagonal(), ExactJVP()


def teacher(path):
    truth = Gaussian(path, mean=0.4, std=0.6)
    return Teacher(lambda x, t, s, cond: truth(x, t, s))


def averaged(path):
    """At the fixed point the average of the run is the truth, too."""
    source = Averaged()
    source.hold(teacher(path).net)
    return source


def mixture():
    laws = {"to_data": FixedEnd(), "from_noise": FromNoise(), "anywhere": BetaPair()}
    return MixtureOfLaws(laws, dict.fromkeys(laws, 1.0))


CONTINUOUS = {
    "flow_matching": lambda path: FlowMatching(path),
    "isd": lambda path: Eulerian(path, derivative=JVP),
    "isd_at_s_0": lambda path: Eulerian(path, times=FixedEnd(), derivative=JVP),
    "esd": lambda path: Eulerian(path, stop_gradient="spatial", derivative=JVP),
    "isd_without_stop": lambda path: Eulerian(path, stop_gradient="none", derivative=JVP),
    "direct": lambda path: Eulerian(path, target=COND, tangent=COND, diagonal=0, derivative=JVP),
    "meanflow": lambda path: Eulerian(path, LogitNormalPair(), target=COND, tangent=COND, share=0.25, derivative=JVP),
    "improved_meanflow": lambda path: Eulerian(
        path, LogitNormalPair(), target=COND, tangent=OWN, share=0.5, diagonal_rows="all", derivative=JVP
    ),
    "tvm": lambda path: Lagrangian(
        path, LogitNormalGap(), velocity=averaged(path), diagonal_times=LogitNormal(), derivative=JVP
    ),
    "isd_of_an_averaged_self": lambda path: Eulerian(path, target=averaged(path), derivative=JVP),
    "facm_without_its_clamp": lambda path: ClampedTarget(
        path, mixture(), target=COND, tangent=COND, bound=math.inf, derivative=JVP
    ),
    "shortcut_of_an_averaged_self": lambda path: Semigroup(path, teacher=averaged(path), share=0.5),
    "lsd": lambda path: Lagrangian(path, derivative=JVP),
    "psd_midpoint": lambda path: Semigroup(path, intermediate=Midpoint()),
    "psd_uniform": lambda path: Semigroup(path, intermediate=UniformIntermediate()),
    "distill": lambda path: Eulerian(path, target=teacher(path), tangent=teacher(path), derivative=JVP),
    "distill_lagrangian": lambda path: Lagrangian(path, velocity=teacher(path), derivative=JVP),
}


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=["linear", "trigonometric"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_expected_gradient_vanishes_at_the_truth(name, path):
    mean, error = expected_gradient(CONTINUOUS[name](path), Gaussian(path, mean=0.4, std=0.6))
    assert (mean.abs() < 4 * error + 1e-9).all(), (mean, error)


@pytest.mark.parametrize("name", ["isd", "esd", "direct", "meanflow", "improved_meanflow", "lsd", "psd_midpoint"])
def test_it_vanishes_on_a_mixture_too(name):
    path = Linear()
    mean, error = expected_gradient(CONTINUOUS[name](path), Smooth(path), batches=12, size=1500)
    assert (mean.abs() < 4.5 * error + 1e-6).all(), (mean, error)


class Smooth(Mixture1D):
    """The mixture whose F is differentiated by its own differences: bisection has no derivative."""

    def __call__(self, x, t, s, cond=None):
        return ImplicitF.apply(self, x, t, s)


class ImplicitF(torch.autograd.Function):
    """F of the mixture with its forward-mode rule: df = (p_t dx + dP_t/dt dt) / p_s, everything at f."""

    generate_vmap_rule = False

    @staticmethod
    def forward(truth, x, t, s):
        return Mixture1D.__call__(truth, x, t, s)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.truth = inputs[0]
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def jvp(ctx, _, dx, dt, ds):
        x, t, s = ctx.saved_tensors
        h = 1e-5
        plus = Mixture1D.__call__(ctx.truth, x + h * dx, t + h * dt, s + h * ds)
        minus = Mixture1D.__call__(ctx.truth, x - h * dx, t - h * dt, s - h * ds)
        return (plus - minus) / (2 * h)


def test_without_the_stop_gradient_direct_training_wants_flat_maps():
    """Its extra gradient is that of E tr(J Cov[v | x_t] J^T), J = dA - A dF/dx; Gaussian data: Cov = (std / S_t)^2."""
    path = Linear()
    truth = Gaussian(path, mean=0.4, std=0.6)
    objective = Eulerian(path, target=COND, tangent=COND, stop_gradient="none", diagonal=0, derivative=JVP)
    mean, error = expected_gradient(objective, truth)

    rng = torch.Generator().manual_seed(99)
    t, s = (time.double() for time in BetaPair().sample(400_000, path, rng, 0))
    x = truth.moments(t)[0][:, None] + truth.moments(t)[1][:, None] * torch.randn(len(t), 1, generator=rng).double()
    slope = lambda net: torch.func.jvp(lambda x: net(x, t, s), (x,), (torch.ones_like(x),))[1]  # noqa: E731
    net = Perturbed(lambda x, t, s: truth(x, t, s))
    J = 1 - (t - s)[:, None] * slope(lambda x, t, s: net(x, t, s, {}))
    penalty = (J**2 * (truth.std / truth.moments(t)[1][:, None]) ** 2).mean()
    (expected,) = torch.autograd.grad(penalty, net.theta)
    assert (expected.abs() > 20 * error).any()
    assert ((mean - expected).abs() < 5 * error + 0.01 * expected.abs()).all(), (mean, expected, error)


def test_a_per_sample_weight_biases_conditional_objectives():
    """sg(l + eta)^-p is not linear in the conditional velocity: at p = 1 the truth is no fixed point, at 0 it is."""
    path = Linear()
    plain = Eulerian(path, target=COND, tangent=COND, diagonal=0, derivative=JVP)
    biased = Eulerian(path, target=COND, tangent=COND, diagonal=0, derivative=JVP, weighting=Adaptive(1.0))
    truth = Smooth(path, means=(-0.6, 1.4), stds=(0.15, 0.3), weights=(0.8, 0.2))
    mean, error = expected_gradient(biased, truth, batches=12, size=1500)
    assert (mean.abs() > 10 * error).any(), (mean, error)
    mean, error = expected_gradient(plain, truth, batches=12, size=1500)
    assert (mean.abs() < 4.5 * error + 1e-6).all(), (mean, error)


def test_a_clamp_moves_the_fixed_point_where_the_conditional_velocity_is_skewed():
    """clamp(T - F) is not linear in v_t: its mean at the truth is not 0. With the own diagonal T = F, and it is."""
    path, truth = Linear(), Smooth(Linear(), means=(-0.6, 1.4), stds=(0.15, 0.3), weights=(0.8, 0.2))
    for source, biased in ((COND, True), (OWN, False)):
        objective = ClampedTarget(path, target=source, tangent=source, bound=0.3, diagonal=1e-9, derivative=JVP)
        mean, error = expected_gradient(objective, truth, batches=12, size=1500)
        assert (mean.abs() > 8 * error).any() == biased, (mean, error)


@pytest.mark.parametrize(
    "bridge",
    [COND, OWN, teacher(Linear())],
    ids=["consistency training, alpha-Flow, SoFlow", "CTM", "consistency distillation"],
)
def test_finite_steps_leave_a_gradient_of_the_first_order_after_the_weight(bridge):
    """The residual at the truth is O(h^2), O(h) with the weight 1 / h: halving h halves the expected gradient."""
    path = Linear()
    truth = Gaussian(path, mean=0.4, std=0.6)
    norms = []
    for alpha in (0.2, 0.1, 0.05):
        law = Fraction(Constant(alpha))
        objective = Semigroup(path, FixedEnd(3.0, 1.0), diagonal=1e-9, bridge=bridge, intermediate=law)
        norms.append(expected_gradient(objective, truth, batches=40, size=20_000)[0].norm())
    orders = [math.log2(a / b) for a, b in pairwise(norms)]
    assert all(0.85 < order < 1.3 for order in orders), orders


def consistency_training(k):
    """On 2^k intervals, unweighted."""
    grid = KarrasGrid(Constant(2**k + 1))
    return UniformOnGrid(grid), PreviousOnGrid(grid, weighted=False), 0


def improved_consistency_training(k):
    grid = KarrasGrid(Constant(2**k + 1))
    return LogNormalOnGrid(grid, mean=0.0, std=1.0), PreviousOnGrid(grid), 0


def easy_consistency_tuning(k):
    """In stage k, u = t (1 - 2^-k)."""
    return LogNormal(mean=0.0, std=0.7), EasyRatio(steps=8, k=0.0), k


@pytest.mark.parametrize(
    "method, order",
    [(consistency_training, 2), (improved_consistency_training, 1), (easy_consistency_tuning, 1)],
    ids=["consistency", "ict", "ect"],
)
def test_consistency_trainings_gradient_at_the_truth_has_the_order_of_its_steps(method, order):
    """On the variance-exploding path in data space, with each method's times and weight and the squared error.

    The bridge is the marginal velocity: on affine maps the mean of the target is that of the conditional one.
    """
    path = VarianceExploding(sigma_min=0.1, sigma_max=4.0)
    truth, norms = Gaussian(path, mean=0.4, std=0.6), []
    for k in (4, 5, 6):
        times, intermediate, step = method(k)
        objective = Semigroup(path, times, diagonal=0, bridge=teacher(path), intermediate=intermediate, space="data")
        norms.append(expected_gradient(objective, truth, batches=2, size=20_000, step=step)[0].norm())
    orders = [math.log2(a / b) for a, b in pairwise(norms)]
    assert abs(orders[1] - order) < 0.15, orders
    assert abs(orders[1] - order) < abs(orders[0] - order), orders


def test_the_shortcuts_smallest_step_is_of_first_order_and_its_larger_ones_are_exact():
    path = Linear()
    truth = Gaussian(path, mean=0.4, std=0.6)
    rng = torch.Generator().manual_seed(0)
    x = truth.sample((20_000, 1), rng, torch.float64)

    def residual(levels, smallest):
        law = Only(levels)
        out = Semigroup(path, law, bridge=None, smallest=smallest)(Double(Perturbed(truth)), x, {}, rng, 0)
        return out.terms["residual"].mean().sqrt()

    assert residual(3, 0.0) < 1e-6
    orders = [math.log2(residual(k, 2.0**-k) / residual(k + 1, 2.0 ** -(k + 1))) for k in (3, 4, 5)]
    assert all(0.8 < order < 1.2 for order in orders), orders


class Only(Dyadic):
    """Jumps of one level alone."""

    def sample(self, n, path, rng, step):
        count = 2**self.levels
        k = 1 + torch.randint(count, (n,), generator=rng).double()
        return path.T * k / count, path.T * (k - 1) / count


def test_scm_without_normalisation_is_a_fixed_point():
    path = Trigonometric()
    objective = NormalisedTangent(path, FixedEnd(), target=COND, tangent=COND, diagonal=0, derivative=JVP, c=math.inf)
    mean, error = expected_gradient(objective, Gaussian(path, mean=0.4, std=0.6))
    assert (mean.abs() < 4 * error).all(), (mean, error)


@pytest.mark.parametrize("name", ["isd", "esd", "direct", "lsd"])
def test_targets_agree_between_exact_and_difference_derivatives(name):
    path = Trigonometric()
    truth = Gaussian(path, mean=0.4, std=0.6)
    x = truth.sample((500, 1), torch.Generator().manual_seed(0), torch.float64)
    losses = []
    for derivative in (ExactJVP(), CentralDifference(eps=2e-3)):
        made = CONTINUOUS[name](path)
        objective = type(made)(**{**vars(made), "derivative": derivative})
        skewed = Double(lambda x, t, s, cond: 1.3 * truth(x, t, s))
        losses.append(objective(skewed, x, {}, torch.Generator().manual_seed(1), 0).loss)
    assert_close(losses[0], losses[1], atol=1e-5, rtol=2e-4)
