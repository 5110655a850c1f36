"""Guidance in training and at sampling, on classes whose velocities are known in closed form."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.closed_form import Mixture1D
from isd_core.guidance import ConditionDropout, IntervalCFG, MixedCFG, NoGuidance, PreCFG, drop
from isd_core.objectives.base import Draw
from isd_core.objectives.eulerian import Eulerian
from isd_core.objectives.flow_matching import FlowMatching
from isd_core.paths import Linear, VarianceExploding
from isd_core.sampling import DiagonalSampler, FlowMapSampler, PostCFG, with_guidance, with_inputs
from isd_core.support.errors import InputError
from isd_core.training.run import check_inputs, check_objective

PATH = Linear()
MEANS, STDS = (-1.0, 0.8), (0.3, 0.5)
EVERYONE = Mixture1D(PATH, MEANS, STDS, (0.5, 0.5))
CLASSES = [Mixture1D(PATH, (mean,), (std,), (1.0,)) for mean, std in zip(MEANS, STDS, strict=True)]
NULL = {"label": 2}


def sample(n, rng):
    """Classes and data of them."""
    label = torch.randint(2, (n,), generator=rng)
    mean, std = torch.tensor(MEANS)[label], torch.tensor(STDS)[label]
    return label, (mean + std * torch.randn(n, generator=rng)).double()[:, None]


def conditional(x, t, label):
    """v*(x, t | class), and that of everyone for the null label."""
    each = torch.stack([*(data.velocity(x, t) for data in CLASSES), EVERYONE.velocity(x, t)])
    return each[label, torch.arange(len(x))]


class Guided:
    """The guided velocity F_null + omega (F_class - F_null), plus theta . phi with features of the class."""

    def __init__(self, omega):
        self.omega = omega
        self.theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def __call__(self, x, t, s, cond):
        x, t = x.double(), t.double()
        null = EVERYONE.velocity(x, t)
        guided = null + self.omega(t, cond)[:, None] * (conditional(x, t, cond["label"]) - null)
        sign = torch.tensor([1.0, -1.0, 0.0])[cond["label"]][:, None]
        return guided + self.theta[0] * sign + self.theta[1] * sign * x + self.theta[2] * (sign == 0) * x


def mean_gradient(guidance, omega, batches=40, size=4000):
    """The mean gradient of flow matching at the guided velocity, and its standard error."""
    gradients = []
    for seed in range(batches):
        rng, net = torch.Generator().manual_seed(seed), Guided(omega)
        label, x = sample(size, rng)
        loss = FlowMatching(PATH, guidance=guidance)(net, x, {"label": label}, rng, 0).loss
        gradients.append(torch.autograd.grad(loss, net.theta)[0])
    stacked = torch.stack(gradients)
    return stacked.mean(0), stacked.std(0) / batches**0.5


def told(t, cond):
    inside = (cond["t_min"] <= t) & (t < cond["t_max"])
    return torch.where(inside, cond["omega"].double(), 1.0)


@pytest.mark.parametrize(
    "guidance, omega",
    [
        (PreCFG(NULL, omega=3.0), lambda t, cond: torch.full_like(t, 3.0)),
        (IntervalCFG(NULL, path=PATH), told),
        (ConditionDropout(NULL), lambda t, cond: torch.ones_like(t)),
    ],
    ids=["pre", "interval", "post"],
)
def test_the_guided_velocity_is_the_fixed_point_of_class_rows_and_null_rows(guidance, omega):
    mean, error = mean_gradient(guidance, omega)
    assert (mean.abs() < 4 * error + 1e-9).all(), (mean, error)


def test_another_scale_is_no_fixed_point():
    mean, error = mean_gradient(PreCFG(NULL, omega=3.0), lambda t, cond: torch.full_like(t, 2.0))
    assert (mean.abs() > 10 * error).any()


def test_the_interval_and_its_scale_are_drawn_as_they_say(rng):
    label = torch.zeros(20_000, dtype=torch.long)
    cond = IntervalCFG(NULL, path=PATH).prepare({"label": label}, rng, len(label))
    assert set(cond) == {"label", *IntervalCFG.inputs}
    ranges = {"omega": (1, 8), "t_min": (0, 0.5), "t_max": (0.5, 1)}
    assert all(low <= cond[key].min() and cond[key].max() <= high for key, (low, high) in ranges.items())
    assert abs(cond["omega"].log().mean() - torch.tensor(8.0).log() / 2) < 0.02  # uniform in the logarithm
    assert abs((cond["label"] == 2).double().mean() - 0.1) < 0.01


def test_guidance_at_sampling_multiplies_the_scale_in_the_weights():
    """On the diagonal F_null + a (F - F_null) with F = F_null + b (F_class - F_null) is guidance of scale a b."""
    z = torch.randn(64, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cond = {"label": torch.arange(64) % 2}
    nets = {b: Guided(lambda t, cond, b=b: torch.full_like(t, b)) for b in (2.0, 6.0)}
    with torch.no_grad():
        post = PostCFG(DiagonalSampler(PATH), 3.0, NULL)(nets[2.0], z, 8, cond)
        assert_close(post, DiagonalSampler(PATH)(nets[6.0], z, 8, cond))


def test_guidance_at_sampling_costs_one_call_of_twice_the_rows(rng):
    rows = []

    def net(x, t, s, cond):
        rows.append((len(x), cond["label"].tolist()))
        return x

    PostCFG(DiagonalSampler(PATH), 2.0, NULL)(net, torch.randn(2, 1, generator=rng), 2, {"label": torch.tensor([0, 1])})
    assert rows == [(4, [0, 1, 2, 2])] * 2


# -- at the commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("omega, kappa, scale", [(1.0, 0.5, 2.0), (0.2, 0.92, 2.5), (1.0, 1 - 1 / 3, 3.0)])
def test_mixed_guidances_fixed_point_is_that_of_pre_cfg(omega, kappa, scale):
    """omega v + kappa F_c + (1 - omega - kappa) F_null: the scale is omega / (1 - kappa); omega = 1 and kappa = 1 - 1/w
    are improved MeanFlow's. Dropped rows keep E[v | x_t]."""
    mean, error = mean_gradient(MixedCFG(NULL, dropout=0.3, omega=omega, kappa=kappa), lambda t, cond: 0 * t + scale)
    assert (mean.abs() < 4 * error).all(), (mean, error)
    wrong, error = mean_gradient(MixedCFG(NULL, dropout=0.3, omega=omega, kappa=kappa), lambda t, cond: 0 * t + 1.3)
    assert (wrong.abs() > 8 * error).any()


def test_mixed_guidance_has_less_noise_than_pre_cfg_of_the_same_scale():
    _, mixed = mean_gradient(MixedCFG(NULL, omega=0.2, kappa=0.92), lambda t, cond: 0 * t + 2.5)
    _, pre = mean_gradient(PreCFG(NULL, omega=2.5), lambda t, cond: 0 * t + 2.5)
    assert (mixed < 0.2 * pre).all()


def config(guidance, objective="eulerian", **fields):
    chosen = {"type": guidance, **({} if guidance == "none" else {"null": NULL})}
    neutral = {"weighting": {"type": "uniform"}}
    neutral["discrepancy"] = {"type": "mse"}
    return {"guidance": chosen, "objective": {"type": objective, **fields}, **neutral}


def test_no_guidance_at_sampling_leaves_the_sampler():
    sampler = DiagonalSampler(PATH)
    assert with_guidance(sampler, 1.0, NoGuidance()) is sampler
    assert with_guidance(sampler, 1.0, None) is sampler


@pytest.mark.parametrize("trained", [NoGuidance(), ConditionDropout(NULL, dropout=0.0), PreCFG(NULL, dropout=0.0)])
def test_a_network_that_never_saw_the_null_condition_is_not_guided(trained):
    with pytest.raises(InputError, match="guidance=post"):
        with_guidance(DiagonalSampler(PATH), 2.0, trained)


def test_a_network_of_unknown_training_is_not_guided():
    with pytest.raises(InputError, match="does not say how it was trained"):
        with_guidance(DiagonalSampler(PATH), 2.0, None)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_no_number_is_refused(scale):
    with pytest.raises(InputError, match="cfg_scale="):
        with_guidance(DiagonalSampler(PATH), scale, ConditionDropout(NULL))


@pytest.mark.parametrize("trained", [ConditionDropout(NULL), PreCFG(NULL, omega=1.0)])
def test_a_network_without_guidance_in_its_weights_is_guided_in_silence(trained, capsys):
    guided = with_guidance(DiagonalSampler(PATH), 2.0, trained)
    assert (guided.scale, guided.null) == (2.0, NULL)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("trained", [PreCFG(NULL, omega=2.0), IntervalCFG(null=NULL, path=PATH)])
def test_guidance_on_top_of_guidance_is_explained_in_one_line(trained, capsys):
    assert with_guidance(DiagonalSampler(PATH), 2.0, trained).scale == 2.0
    (line,) = capsys.readouterr().err.splitlines()
    assert "multiply" in line


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"guidance": {"type": "pre"}}, "guidance=pre would do nothing"),
        ({"weighting": {"type": "adaptive"}}, "weighting=adaptive would do nothing"),
    ],
)
def test_choices_that_an_objective_has_no_use_for_are_refused(changes, message):
    regression = config("none", objective="regression")
    check_objective(regression, "policy")
    with pytest.raises(InputError, match=message):
        check_objective(regression | changes, "policy")


def test_a_network_without_the_intervals_inputs_is_refused():
    net = nn.Linear(1, 1)
    interval = config("interval")
    interval["guidance"]["path"] = {"type": "linear"}
    with pytest.raises(InputError, match="Linear has no input for omega, t_max, t_min"):
        check_inputs(interval, net)
    net.inputs = IntervalCFG.inputs
    check_inputs(interval, net)


# -- what the network is told of the interval --------------------------------------------------------------------------

INTERVAL_COND = {
    "omega": torch.tensor([3.0, 3.0, 3.0, 3.0]),
    "t_min": torch.tensor([0.2, 0.2, 0.2, 0.0]),
    "t_max": torch.tensor([0.7, 0.7, 0.7, 1.0]),
    "label": torch.zeros(4, dtype=torch.long),
}
STARTS = torch.tensor([0.1, 0.2, 0.7, 1.0])  # before, on its first time, on its end (which is outside), at the noise


class Told:
    """F = 1 for the null label, 0 otherwise; keeps the scales that it was told."""

    def __init__(self):
        self.omegas = []

    def __call__(self, x, t, s, cond):
        self.omegas.append(cond["omega"].clone())
        return torch.where(cond["label"][:, None] == 2, 1.0, 0.0) + 0 * x


@pytest.mark.parametrize("one_outside", [False, True])
def test_outside_its_interval_the_released_network_is_told_no_guidance(one_outside):
    """The released equations: v' = F_null + w (v - F_null), w = omega if t_min <= t / T < t_max else 1, and the network
    is told w. In all passes of a step, at the time at which its jump starts."""
    guidance = IntervalCFG(null=NULL, path=PATH, one_outside=one_outside)
    objective, net = Eulerian(PATH, guidance=guidance), Told()
    x = torch.zeros(4, 1)
    objective.loss(net, Draw(x, torch.ones(4, 1), STARTS, STARTS / 2, dict(INTERVAL_COND)))
    scale = torch.tensor([1.0, 3.0, 1.0, 3.0])
    told = scale if one_outside else INTERVAL_COND["omega"]
    assert len(net.omegas) == 3  # null velocity, diagonal and jump, both halves of the difference
    for omega in net.omegas:
        assert_close(omega, told.repeat(len(omega) // 4))
    points = objective.points(net, Draw(x, torch.ones(4, 1), STARTS, STARTS / 2, dict(INTERVAL_COND)))
    assert_close(points.v, 1 + scale[:, None] * (1 - 1))  # v_t = 1 = F_null


@pytest.mark.parametrize("one_outside", [False, True])
def test_so_it_is_at_sampling(one_outside):
    net = Told()
    net.inputs = IntervalCFG.inputs
    trained = IntervalCFG(null=NULL, path=PATH, one_outside=one_outside)
    sampler = with_inputs(FlowMapSampler(PATH), {"omega": 3.0, "t_min": 0.3, "t_max": 0.8}, net, trained)
    sampler(net, torch.zeros(1, 1), 4, {"label": torch.zeros(1)})  # jumps from 1, .75, .5, .25
    assert [float(omega) for omega in net.omegas] == ([1, 3, 3, 1] if one_outside else [3, 3, 3, 3])


def test_the_interval_lies_on_the_paths_own_measure():
    """On the variance-exploding path half of [0, T] is almost pure noise: shares follow its steps."""
    path = VarianceExploding()
    cond = {key: value[:1] for key, value in INTERVAL_COND.items()}
    scale = IntervalCFG(null=NULL, path=path).scale
    fifth, end = (path.times(10)[k : k + 1].float() for k in (8, 3))  # shares .2 and .7
    assert [float(scale(cond, t)) for t in (0.99 * fifth, 1.01 * fifth, 0.99 * end, 1.01 * end)] == [1, 3, 3, 1]
    assert_close(path.share(path.times(10)[:-1]), torch.linspace(1, 0.1, 10, dtype=torch.float64))


# -- the parts ---------------------------------------------------------------------------------------------------------


def test_the_null_velocity_carries_no_gradient():
    weight = torch.ones(1, requires_grad=True)
    net = lambda x, t, s, cond: weight * x  # noqa: E731
    x = torch.ones(3, 1)
    assert not PreCFG({"label": 9}).target(net, x, torch.ones(3), x, {"label": torch.zeros(3)}).requires_grad


@pytest.mark.parametrize("batch", [1, 4])
def test_dropout_is_a_mask_of_its_own_rate_at_any_batch_size(batch, rng):
    labels = torch.zeros(batch, dtype=torch.long)
    draws = torch.stack([drop(labels, 9, 0.1, rng) for _ in range(4000)])
    rate = (draws == 9).double().mean()
    assert abs(rate - 0.1) < 4 * (0.09 / draws.numel()) ** 0.5
    assert (labels == 0).all()  # never in place
    assert draws.dtype == labels.dtype


def test_without_guidance_nothing_changes(rng):
    cond = {"label": torch.zeros(3)}
    assert NoGuidance().prepare(cond, rng, 3) is cond
    assert NoGuidance.inputs == ()
