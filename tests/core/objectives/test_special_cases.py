"""Where two methods meet, they are one; and iCT's numbers, by hand."""

import math

import pytest
import torch
from torch.testing import assert_close

from isd_core.closed_form import Gaussian
from isd_core.curricula import Constant, Doubling, Exponential, Ramp, Sigmoid
from isd_core.derivatives import ExactJVP
from isd_core.flow_map import FlowMap
from isd_core.intermediate import EasyRatio, Fraction, PreviousOnGrid
from isd_core.networks.mlp import MLP
from isd_core.objectives.base import FlowMapObjective, Residual
from isd_core.objectives.eulerian import Eulerian, NormalisedTangent
from isd_core.objectives.semigroup import Semigroup, SemigroupWithLimit
from isd_core.parametrisation import EDM, DataPrediction
from isd_core.paths import Linear, Trigonometric, VarianceExploding
from isd_core.support import cli
from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES, build
from isd_core.times import Dyadic, FixedEnd, KarrasGrid, LogitNormalPair, LogNormalOnGrid, UniformOnGrid
from isd_core.velocities import Conditional
from isd_core.weighting import MSE, Adaptive, Cosine, Learned, MSEPlusCosine, PseudoHuber

COND = Conditional()
VE = VarianceExploding()


@pytest.fixture
def net():
    torch.manual_seed(0)
    mlp = MLP(2, clock=Linear().clock, width=32).double()
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.mul_(2.0)  # curved enough for orders to show
    return lambda x, t, s, cond: mlp(x, t.double(), s.double()), list(mlp.parameters())


def gradient(objective, net, step=0):
    function, parameters = net
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = objective(function, x, {}, torch.Generator().manual_seed(1), step).loss
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, allow_unused=False)])


def built(name, *overrides):
    config = cli.compose_config("policy_train", ["data=x", f"objective={name}", *overrides])
    return build("objective", config["objective"])


def weighting(name):
    made = build("weighting", {"type": name}).double() if name == "learned" else build("weighting", {"type": name})
    if name == "learned":
        torch.nn.init.normal_(made.w.weight, generator=torch.Generator().manual_seed(5))
    return made


@pytest.mark.parametrize("name", ROLES["weighting"].members)
def test_alpha_flow_tends_to_meanflow_whatever_the_weighting(name, net):
    """T_alpha = F + alpha (T - F) + O(alpha^2): with the weight 1 / alpha, and weightings that follow the size of the
    difference quotient, all gradients meet as alpha -> 0, those of a weighting's own parameters among them."""
    weights = weighting(name)
    made = {"path": Linear(), "times": LogitNormalPair(), "share": 0.25, "weighting": weights}
    own = list(weights.parameters()) if name == "learned" else []
    nets = net[0], net[1] + own
    meanflow = gradient(Eulerian(target=COND, tangent=COND, derivative=ExactJVP(), **made), nets)
    gaps = []
    for alpha in (0.2, 0.02):
        flow = Semigroup(bridge=COND, intermediate=Fraction(Constant(alpha)), **made)
        gaps.append(float((gradient(flow, nets) - meanflow).norm() / meanflow.norm()))
    assert gaps[1] < 2e-2, gaps
    assert 5 < gaps[0] / gaps[1] < 20, gaps  # first order


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=["linear", "trigonometric"])
def test_alpha_flow_ends_as_meanflow(path, net):
    """In the last phase alpha is 0 and the gradient is MeanFlow's, to the bit."""
    made = {"path": path, "times": LogitNormalPair(), "share": 0.25, "derivative": ExactJVP(), "weighting": Adaptive()}
    flow = SemigroupWithLimit(intermediate=Fraction(Sigmoid(steps=100)), **made)
    meanflow = Eulerian(target=COND, tangent=COND, **made)
    assert_close(gradient(flow, net, step=99), gradient(meanflow, net), atol=0, rtol=0)
    assert not torch.equal(gradient(flow, net, step=50), gradient(meanflow, net))


def test_without_a_derivative_alpha_must_stay_above_zero(net):
    with pytest.raises(InputError, match="semigroup_with_limit"):
        gradient(Semigroup(Linear(), bridge=COND, intermediate=Fraction(Constant(0.0))), net)


def test_alpha_one_is_flow_matching_of_the_average_velocity(net):
    """At alpha = 1, u = s and the target is the conditional velocity itself."""
    law = FixedEnd()
    objective = Semigroup(Linear(), law, diagonal=0, bridge=COND, intermediate=Fraction(Constant(1.0)))

    class Direct(Semigroup):
        def residual(self, net, at, F_ts, F_tt, extra):
            return Residual(MSE()(F_ts, at.v))

    direct = Direct(Linear(), law, diagonal=0, bridge=COND, intermediate=Fraction(Constant(1.0)))
    assert_close(gradient(objective, net), gradient(direct, net), atol=1e-6, rtol=1e-5)


def test_psd_at_the_midpoint_on_dyadic_times_is_the_shortcut(net):
    """The configs psd and shortcut differ in the law of times, the bootstrap share and the smallest step alone."""
    psd = built("psd", "times=dyadic")
    shortcut = built("shortcut", "objective.share=1", "objective.diagonal_times=null", "objective.smallest=0")
    assert isinstance(psd.times, Dyadic)
    assert_close(gradient(psd, net), gradient(shortcut, net), atol=0, rtol=0)


def test_ect_with_a_fixed_ratio_is_one_step_of_consistency_training(net):
    """Two laws of u that name the same point give the same gradient."""
    path = VarianceExploding(sigma_min=0.5, sigma_max=8.0)
    grid = KarrasGrid(Constant(3))
    t, u = 8.0, float(grid.points(path, 0, torch.empty(0))[1])

    class At(UniformOnGrid):
        def sample(self, n, path, rng, step):
            return torch.full((n,), t), torch.full((n,), 0.5)

    ratio = EasyRatio(steps=2, stages=2, k=0.0, q=1 / (1 - u / t))
    consistency, ect = (
        Semigroup(path, At(grid), diagonal=0, bridge=COND, intermediate=intermediate, space="data")
        for intermediate in (PreviousOnGrid(grid), ratio)
    )
    assert_close(gradient(consistency, net), gradient(ect, net, step=1), atol=1e-6, rtol=1e-5)


def test_scm_without_normalisation_is_isds_form_at_s_0_times_cos_t(net):
    path, law = Trigonometric(), FixedEnd()
    made = {"diagonal": 0, "target": COND, "tangent": COND, "derivative": ExactJVP()}

    x = torch.randn(64, 2, dtype=torch.float64)
    rngs = [torch.Generator().manual_seed(3) for _ in range(3)]
    scm = NormalisedTangent(path, law, c=math.inf, **made)(net[0], x, {}, rngs[0], 0).terms["residual"]
    isd = Eulerian(path, law, **made)(net[0], x, {}, rngs[1], 0).terms["residual"]
    torch.randn(x.shape, generator=rngs[2], dtype=x.dtype)
    t, _ = law.sample(64, path, rngs[2], 0)
    assert_close(scm, t.cos() ** 2 * isd, atol=1e-6, rtol=1e-4)


def test_scms_normalised_tangent_is_shorter_than_one(net):
    objective = NormalisedTangent(
        Trigonometric(), FixedEnd(), diagonal=0, target=COND, tangent=COND, derivative=ExactJVP(), c=0.1
    )
    x = 30 * torch.randn(64, 2, dtype=torch.float64)
    residual = objective(net[0], x, {}, torch.Generator().manual_seed(0), 0).terms["residual"]
    assert (2 * residual < 1).all()
    assert residual.max() > 0.4  # |g| >> c: nearly a unit vector, whose mean square over 2 elements is 1/2


# -- improved consistency training, by hand -------------------------------------------------------------------------


def test_icts_grid_sizes():
    """K = 400,000: K' = floor(400000 / (log2 128 + 1)) = 50,000, and N doubles from 11 to 1281."""
    N = Doubling(steps=400_000)
    assert [N(k) for k in (0, 49_999, 50_000, 100_000, 349_999, 350_000, 399_999)] == [11, 11, 21, 41, 641, 1281, 1281]


def test_icts_times_and_probabilities():
    """N = 3: sigma = .002, ((.002^(1/7) + 80^(1/7)) / 2)^7 = 2.5152, 80; masses by the error function."""
    grid = KarrasGrid(Constant(3))
    points = grid.points(VE, 0, torch.empty(0, dtype=torch.float64))
    assert_close(points, torch.tensor([0.002, 2.5152, 80.0], dtype=torch.float64), atol=1e-3, rtol=0)
    law = LogNormalOnGrid(grid)
    # erf at (ln sigma + 1.1) / (2 sqrt 2): -.98946, .68808, .99388
    assert_close(law.probabilities(points), torch.tensor([0.84581, 0.15419], dtype=torch.float64), atol=2e-4, rtol=0)
    t, s = law.sample(100_000, VE, torch.Generator().manual_seed(0), 0)
    assert abs((t == points[1].float()).double().mean() - 0.84581) < 5e-3
    assert (s == 0.002).all()


def test_icts_weights_are_inverse_distances_to_the_next_lower_point():
    grid = KarrasGrid(Constant(3))
    points = grid.points(VE, 0, torch.empty(0))
    u, weight, *_ = PreviousOnGrid(grid).sample(points[1:], points[:1].expand(2), VE, torch.Generator(), 0)
    assert_close(u, points[:2])
    assert_close(weight, torch.tensor([1 / (2.5152 - 0.002), 1 / (80 - 2.5152)]), atol=1e-5, rtol=1e-3)


def test_icts_pseudo_huber():
    """d = 4: c = .00054 * 2; error (3, 4, 0, 0) has norm 5."""
    error = torch.tensor([[3.0, 4.0, 0.0, 0.0]], dtype=torch.float64)
    c = 0.00054 * 2
    assert_close(PseudoHuber()(error, torch.zeros_like(error)), torch.tensor([math.sqrt(25 + c**2) - c]).double())


def test_the_l2_norm_has_no_gradient_where_there_is_no_error():
    """ECT's distance: c = 0; a row with t = s has the error 0, at which the norm has no slope."""
    error = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    value = PseudoHuber(c=0.0)(error, torch.zeros_like(error))
    assert_close(value, torch.tensor([5.0, 0.0]))
    value.sum().backward()
    assert_close(error.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_ects_config_takes_the_l2_norm_and_rows_at_the_end_of_the_path_are_harmless(net):
    objective = built("ect", "trainer.steps=80", "path.sigma_min=0.5", "times.mean=-2.0")  # many rows with t = s
    assert objective.discrepancy == PseudoHuber(c=0.0, norm="sum")
    assert torch.isfinite(gradient(objective, net, step=70)).all()


def test_the_edm_form_keeps_its_boundary_and_is_smooth_there():
    """f = c_skip x + c_out G with c_skip, c_out by hand at t = 2, s = 1, sd = .5: .25 / 1.25 and .5 / sqrt 4.25."""
    constant = torch.nn.Module()
    constant.forward = lambda x, t, s, cond: torch.full_like(x, 3.0)
    net = EDM(constant, VE)
    x, t, s = torch.tensor([[1.0]]), torch.tensor([2.0]), torch.tensor([1.0])
    f = x - (t - s) * net(x, t, s, {})
    assert_close(f, torch.tensor([[0.25 / 1.25 * 1.0 + 0.5 / math.sqrt(4.25) * 3.0]]))
    assert torch.isfinite(net(x, s, s, {})).all()


@pytest.mark.parametrize("path", [Linear(), Trigonometric(), VE], ids=["linear", "trigonometric", "ve"])
def test_data_prediction_of_the_posterior_mean_is_the_marginal_velocity(path):
    """On the diagonal G = E[x | x_t]: F = (sigma' x_t - nu G) / sigma is v*, and the end point of F is G."""
    truth = Gaussian(path, mean=0.4, std=0.6)
    t = (0.1 + 0.8 * torch.rand(64, generator=torch.Generator().manual_seed(0))).double() * path.T
    x = truth.moments(t)[0][:, None] + torch.randn(64, 2, generator=torch.Generator().manual_seed(1)).double()
    c, (mean, S) = path.coefficients(t[:, None]), truth.moments(t[:, None])
    posterior = torch.nn.Module()
    posterior.forward = lambda x, t, s, cond: 0.4 + c.alpha * 0.6**2 / S**2 * (x - mean)
    F = DataPrediction(posterior, path)(x, t, t, {})
    assert_close(F, truth.velocity(x, t))
    assert_close(FlowMap(path).endpoints(x, F, t)[0], posterior.forward(x, t, t, {}))
    assert torch.isfinite(DataPrediction(posterior, path)(x, 0 * t, 0 * t, {})).all()


def test_edm_on_another_path_is_refused():
    with pytest.raises(InputError, match=r"parametrisation=edm.*variance_exploding"):
        EDM(torch.nn.Identity(), Linear())


# -- weights, discrepancies, curricula ------------------------------------------------------------------------------


def test_the_larger_recipes_terms():
    """sqrt(mse + 25) - 5, and mse + 1 - cosine similarity over channels."""
    a, b = torch.tensor([[[3.0], [4.0]]]), torch.tensor([[[4.0], [3.0]]])
    assert_close(PseudoHuber(c=5.0, norm="mean")(a, b), torch.tensor([math.sqrt(1 + 25) - 5]))
    assert_close(MSEPlusCosine()(a, b), torch.tensor([1.0 + 1 - 24 / 25]))


def test_weightings():
    loss, t = torch.tensor([0.5, 2.0]), torch.tensor([0.0, 1.0])
    assert_close(Adaptive(p=1.0, eta=0.01)(loss, t, Linear()), loss / (loss + 0.01))
    assert_close(Cosine()(loss, t, Linear()), torch.tensor([0.5, 0.0]), atol=1e-6, rtol=0)
    assert_close(Learned()(loss, t, Linear()), loss)  # w = 0 at first


def test_the_learned_weights_optimum_is_the_log_of_the_loss():
    """min over w of exp(-w) l + w is at w = ln l."""
    w = torch.tensor(math.log(2.0), requires_grad=True)
    (2.0 * torch.exp(-w) + w).backward()
    assert abs(w.grad) < 1e-6


def test_curricula():
    assert [Ramp(10)(k) for k in (0, 5, 10, 99)] == [0, 0.5, 1, 1]
    assert [round(Exponential(100)(k), 9) for k in (0, 50, 100, 200)] == [0.1, round(0.0002**0.5, 9), 0.002, 0.002]
    alpha = Sigmoid(1000)
    assert [alpha(k) for k in (0, 288, 500, 712, 999, 2000)] == [1, 1, 0.5, 0, 0, 0]
    assert 0.005 < alpha(711) < 0.0055 and 0.9945 < alpha(289) < 0.9955
    late = Sigmoid(1200, start=1 / 2, end=5 / 6)  # the published schedule of the largest model: 600 to 1000 of 1200
    assert [round(late(k), 9) for k in (600, 800, 1000)] == [1, 0.5, 0]


# -- configs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, path",
    [
        ("scm", "Trigonometric"),
        *((name, "VarianceExploding") for name in ("consistency", "ict", "ect")),
        ("isd", "Linear"),
    ],
)
def test_an_objective_sets_its_default_path(name, path):
    assert type(built(name).path).__name__ == path


def test_every_residual_objective_is_a_composition():
    for name in ("isd", "esd", "direct", "meanflow", "improved_meanflow", "lsd", "psd", "shortcut", "consistency"):
        assert isinstance(built(name), FlowMapObjective)
