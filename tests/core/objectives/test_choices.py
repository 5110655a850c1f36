"""What an objective's fields do, and the combinations that it refuses."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.curricula import Constant, Ramp, SquareRoot
from isd_core.guidance import PreCFG
from isd_core.intermediate import EasyRatio, Fraction, PreviousOnGrid
from isd_core.networks.mlp import MLP
from isd_core.objectives.base import Objective
from isd_core.objectives.eulerian import ClampedTarget, Eulerian, NormalisedTangent
from isd_core.objectives.lagrangian import Lagrangian
from isd_core.objectives.semigroup import Semigroup
from isd_core.paths import Linear, Trigonometric, VarianceExploding
from isd_core.support import cli
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.times import BetaPair, Diagonal, Dyadic, FixedEnd, KarrasGrid, LogNormalPair, MixtureOfLaws, UniformOnGrid
from isd_core.velocities import Averaged, Conditional, OwnDiagonal, Teacher

COND, OWN = Conditional(), OwnDiagonal()
VE = VarianceExploding(sigma_min=0.1, sigma_max=8.0)
PRE = PreCFG({"label": 9})


def draw(objective, n=64, step=0, dim=2):
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(0))
    return objective.draw(x, {}, torch.Generator().manual_seed(1), step)


class Recording(nn.Module):
    """An MLP that keeps the rows of its calls."""

    def __init__(self, path):
        super().__init__()
        torch.manual_seed(0)
        self.mlp, self.calls = MLP(2, clock=path.clock, width=16, depth=1), []

    def forward(self, x, t, s, cond):
        self.calls.append(len(x))
        return self.mlp(x, t, s)


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Eulerian(Linear(), diagonal=0), "nothing tells it of the data"),
        (lambda: Semigroup(Linear(), diagonal=0), "nothing tells it of the data"),
        (lambda: Semigroup(Linear(), bridge=OWN, diagonal=0), "nothing tells it of the data"),
        (lambda: Lagrangian(Linear(), diagonal=0), "nothing tells it of the data"),
        (lambda: Eulerian(Linear(), FixedEnd(), target=COND, tangent=OWN, diagonal=0), r"never trained.*FixedEnd"),
        (lambda: Eulerian(Linear(), FixedEnd(), target=COND, guidance=PRE, diagonal=0), r"PreCFG asks.*never trained"),
        (lambda: Lagrangian(Linear(), velocity=COND), "drawn points alone"),
        (lambda: NormalisedTangent(Trigonometric(), stop_gradient="none"), "sCM's target carries no gradient"),
        (lambda: Eulerian(VE), "LogNormalPair"),
        (lambda: Eulerian(Linear(), target=Averaged(), diagonal=0), "nothing tells it of the data"),
        (lambda: Lagrangian(Linear(), velocity=Averaged(), diagonal=0), "nothing tells it of the data"),
        (lambda: Semigroup(Linear(), teacher=COND), "the data are no network"),
        (lambda: Semigroup(Linear(), share=0.5, diagonal_rows="some"), "known: rest, all"),
        (lambda: Semigroup(Linear(), share=0.5, diagonal_rows="all", diagonal_times=Diagonal()), "one time each"),
        (lambda: ClampedTarget(Linear(), stop_gradient="none"), "a clamped target carries none"),
        (lambda: MixtureOfLaws({"a": BetaPair()}, {"b": 1.0}), "each its share"),
        (lambda: Eulerian(VE, MixtureOfLaws({"a": FixedEnd()}, {"a": 1.0})), "LogNormalPair"),
        (lambda: Semigroup(Linear(), share=0.0), "share"),
        (lambda: Eulerian(Linear(), diagonal=-1.0), "diagonal"),
    ],
)
def test_it_is_refused_with_the_reason(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Eulerian(Linear(), FixedEnd()),  # the diagonal term trains what the self-distillation uses
        lambda: Eulerian(Linear(), target=COND, guidance=PRE, diagonal=0),  # s < t comes close to the diagonal
        lambda: Eulerian(VE, LogNormalPair()),
    ],
)
def test_its_neighbours_are_not(make):
    assert isinstance(make(), Objective)


@pytest.mark.parametrize(
    "words, message",
    [
        (["objective=isd", "path=variance_exploding"], "lognormal law"),
        (["objective=ict", "path=linear"], "variance_exploding"),
        (["objective=scm", "path=linear"], "trigonometric"),
        (["objective=isd", "objective.diagonal=0"], "nothing tells it"),
        (["objective=consistency", "times=beta_pair"], "times.grid"),
        (["objective=isd", "objective.stop_gradient=some"], "known: full, spatial, none"),
        (["objective=meanflow", "objective.diagonal=0"], "must be positive"),
        (["objective=psd", "objective.space=pixels"], "known: velocity, data"),
    ],
)
def test_the_command_ends_with_2_and_one_paragraph(words, message, capsys):
    def job(config):
        plain = cli.resolved(config)
        build("parametrisation", plain["parametrisation"], net=nn.Identity(), path=build("path", plain["path"]))
        build("objective", plain["objective"])

    assert cli.run(job, "experiment_toy", ["trainer.steps=10", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1


# -- passes that are not made ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, times, intermediate, step",
    [
        (Linear(), BetaPair(), Fraction(Constant(1.0)), 0),
        (VE, UniformOnGrid(KarrasGrid(Constant(2))), PreviousOnGrid(KarrasGrid(Constant(2))), 0),
        (VE, LogNormalPair(), EasyRatio(steps=80), 9),
    ],
    ids=["alpha-Flow at alpha = 1", "consistency training on two points", "ECT's first stage"],
)
def test_with_u_at_the_end_one_pass_is_made_and_the_target_is_the_conditional_velocity(path, times, intermediate, step):
    objective = Semigroup(path, times, bridge=COND, intermediate=intermediate, diagonal=0)
    net, drawn = Recording(path), draw(objective, step=step)
    out = objective.loss(net, drawn)
    assert net.calls == [64]
    through = objective.loss(net, drawn._replace(extra=drawn.extra._replace(direct=False)))
    assert net.calls == [64, 64, 64]
    assert_close(through.terms["residual"], out.terms["residual"], atol=1e-5, rtol=1e-4)


def test_a_teacher_in_both_slots_is_asked_once():
    teacher = Recording(Linear())
    Eulerian(Linear(), target=Teacher(teacher))(Recording(Linear()), torch.randn(8, 2), {}, torch.Generator(), 0)
    assert teacher.calls == [8]


# -- fields ------------------------------------------------------------------------------------------------------------


def test_the_rest_of_a_batch_has_its_own_law_of_times():
    """The shortcut: dyadic times for the bootstrap quarter, uniform ones for flow matching."""
    drawn = draw(Semigroup(Linear(), Dyadic(3), share=0.25, diagonal_times=Diagonal()), n=4000)
    dyadic = (drawn.t * 8).frac() == 0
    assert dyadic[:1000].all() and not dyadic[1000:].any()
    assert abs(drawn.t[1000:].mean() - 0.5) < 0.02
    assert len(drawn.extra.u) == 1000


def test_flow_matching_at_times_of_its_own_beside_the_residual():
    """Both terms of a sample have the same data and noise and times apart; the loss is the sum of two means."""
    objective = Lagrangian(Linear(), FixedEnd(), diagonal_times=Diagonal())
    drawn, net = draw(objective, n=256), Recording(Linear())
    assert drawn.t_diagonal.shape == drawn.t.shape and not torch.equal(drawn.t_diagonal, drawn.t)
    out = objective.loss(net, drawn)
    assert_close(out.loss, out.terms["flow"].mean() + out.terms["residual"].mean())
    x_t = (1 - drawn.t_diagonal[:, None]) * drawn.x + drawn.t_diagonal[:, None] * drawn.z
    error = net(x_t, drawn.t_diagonal, drawn.t_diagonal, {}) - (drawn.z - drawn.x)
    assert_close(out.terms["flow"], error.square().mean(1).detach())


def test_all_rows_take_flow_matching_and_a_share_the_residual_too():
    objective = Eulerian(Linear(), target=COND, tangent=OWN, share=0.25, diagonal_rows="all")
    drawn, net = draw(objective), Recording(Linear())
    out = objective.loss(net, drawn)
    assert (len(out.terms["flow"]), len(out.terms["residual"])) == (64, 16)
    assert_close(out.loss, out.terms["flow"].mean() + out.terms["residual"].sum() / 64)
    assert net.calls == [80, 32]  # the diagonal of all and the jumps in one call; both halves of a difference


def test_the_maps_of_an_averaged_self_are_composed():
    other, net, averaged = Recording(Linear()), Recording(Linear()), Averaged()
    averaged.hold(other)
    objective = Semigroup(Linear(), teacher=averaged)
    objective.loss(net, draw(objective)).loss.backward()
    assert (net.calls, other.calls) == ([128], [64, 64])
    assert all(p.grad is None for p in other.parameters())
    with pytest.raises(RuntimeError, match="the trainer gives it one"):
        Semigroup(Linear(), teacher=Averaged()).loss(net, draw(objective))


@pytest.mark.parametrize("share, n, rows", [(0.25, 64, 16), (0.25, 2, 1), (0.9, 2, 1), (1.0, 2, 2)])
def test_a_share_leaves_no_part_of_a_small_batch_empty(share, n, rows):
    objective = Eulerian(Linear(), target=COND, share=share)
    assert objective.rows(n) == rows
    out = objective.loss(Recording(Linear()), draw(objective, n=n))
    assert all(len(term) and torch.isfinite(term).all() for term in out.terms.values())


class Dropping(nn.Module):
    """F = a dropout mask times a weight."""

    def __init__(self):
        super().__init__()
        self.drop, self.weight = nn.Dropout(0.5), nn.Parameter(torch.ones(1))
        self.masks = []

    def forward(self, x, t, s, cond):
        self.masks.append(self.drop(torch.ones_like(x)))
        return self.weight * self.masks[-1]


def test_both_sides_of_consistency_training_see_the_same_dropout_masks():
    objective = Semigroup(VE, LogNormalPair(), bridge=COND, intermediate=Fraction(Constant(0.5)), diagonal=0)
    net = Dropping()
    objective.loss(net, draw(objective)).loss.backward()
    assert len(net.masks) == 2
    assert torch.equal(*net.masks)
    objective.loss(net, draw(objective)).loss.backward()
    assert not torch.equal(net.masks[0], net.masks[2])  # and every step has its own


# -- curricula ---------------------------------------------------------------------------------------------------------


def test_consistency_trainings_grid_sizes():
    """K = 100, s0 = 2, s1 = 150: ceil(sqrt(k / 100 (151^2 - 4) + 4) - 1) + 1."""
    N = SquareRoot(steps=100)
    assert [N(k) for k in (0, 1, 50, 100, 101)] == [2, 16, 107, 151, 151]
    assert math.isclose(math.sqrt(0.5 * (151**2 - 4) + 4), 106.782, rel_tol=1e-5)


def test_the_tangents_warm_up_is_a_share_of_the_run():
    ramp = Ramp(steps=1000, share=0.1)
    assert [ramp(k) for k in (0, 50, 100, 999)] == [0, 0.5, 1, 1]


def test_scms_warm_up_scales_the_derivative_part():
    """At share 0 what is left of g is cos^2 t (v - F)."""
    path = Trigonometric()
    objective = NormalisedTangent(path, FixedEnd(), target=COND, diagonal=0, c=math.inf, warmup=Constant(0.0))
    net, drawn = Recording(path), draw(objective)
    points = objective.points(net, drawn)
    expected = (drawn.t.cos() ** 4 * (points.v - net(points.x_t, points.t, points.s, {})).square().mean(1)).detach()
    assert_close(objective.loss(net, drawn).terms["residual"], expected)
