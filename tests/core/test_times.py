"""Laws of the time pair: ranges on every path, and distributions by their quantiles."""

import math
from dataclasses import replace

import pytest
import torch

from isd_core.curricula import Constant
from isd_core.paths import Linear, Trigonometric, VarianceExploding
from isd_core.support.cli import compose_config
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.times import (
    BetaPair,
    Diagonal,
    Dyadic,
    FixedEnd,
    FromNoise,
    KarrasGrid,
    LogitNormal,
    LogitNormalApart,
    LogitNormalGap,
    LogitNormalPair,
    LogNormal,
    LogNormalOnGrid,
    LogNormalPair,
    MixtureOfLaws,
    UniformOnGrid,
)

N = 100_000
GRID = KarrasGrid(Constant(9))
MIXTURE = MixtureOfLaws({"data": FixedEnd(), "noise": FromNoise()}, {"data": 3.0, "noise": 1.0})
PROPORTIONAL = [
    *(BetaPair(), FixedEnd(), Diagonal(), LogitNormalPair(), Dyadic()),
    *(LogitNormal(), LogitNormalApart(), LogitNormalGap(), FromNoise(), MIXTURE),
]
ANYWHERE = [LogNormal(), LogNormalPair(), LogNormalOnGrid(GRID), UniformOnGrid(GRID)]
name = lambda value: type(value).__name__  # noqa: E731


def share(condition):
    return float(condition.double().mean())


@pytest.mark.parametrize("law", PROPORTIONAL + ANYWHERE, ids=name)
def test_times_are_ordered_within_the_path(law, path, rng):
    if law.proportional and isinstance(path, VarianceExploding):
        with pytest.raises(InputError, match="almost pure noise"):
            law.check(path)
        return
    law.check(path)
    t, s = law.sample(1000, path, rng, 0)
    assert (s <= t).all() and s.min() >= path.end and t.max() <= path.T + 1e-6
    assert law.fixed_end == bool((s == s[0]).all() and abs(float(s[0]) - path.end) < 1e-6)


def test_the_beta_pair_has_the_moments_of_two_ordered_draws(rng):
    """E[t + s] = 2 a / (a + b), and P(t < u) = P(Beta < u)^2 with P(Beta(a, 1) < u) = u^a."""
    t, s = BetaPair(0.8, 1.0).sample(2 * N, Linear(), rng, 0)
    assert abs(float((t + s).mean()) - 2 * 0.8 / 1.8) < 4e-3
    assert abs(share(t < 0.5) - 0.5**1.6) < 4e-3


def test_the_logit_normal_pair_is_two_ordered_draws_of_its_median(rng):
    """MeanFlow's law: the median of one draw is sigmoid(-.4), so both are below it in a quarter of the pairs."""
    median = 1 / (1 + math.exp(0.4))
    t, s = LogitNormalPair().sample(N, Linear(), rng, 0)
    assert abs(share(t < median) - 0.25) < 5e-3
    assert abs(share(s < median) - 0.75) < 5e-3


@pytest.mark.parametrize(
    "path, time",
    [(VarianceExploding(), math.exp(-1.1)), (Trigonometric(), math.atan(math.exp(-1.1)))],
    ids=["ve", "trig"],
)
def test_the_lognormal_laws_median_is_that_of_the_noise_to_signal_ratio(path, time, rng):
    t, _ = LogNormal().sample(N, path, rng, 0)
    assert abs(share(t < time) - 0.5) < 5e-3
    above, _ = LogNormalPair().sample(N, path, rng, 0)
    assert abs(share(above < time) - 0.25) < 5e-3


def test_dyadic_jumps_start_at_multiples_of_their_length(rng):
    t, s = Dyadic(levels=3).sample(N, Trigonometric(), rng, 0)
    length = (t - s) / Trigonometric().T
    for level in range(4):
        of_level = (length - 2.0**-level).abs() < 1e-5
        assert abs(share(of_level) - 0.25) < 5e-3
        start = s[of_level] / Trigonometric().T * 2**level
        assert (start - start.round()).abs().max() < 1e-4
        assert len(start.round().unique()) == 2**level


def test_the_uniform_grid_law_visits_every_point_above_the_first(rng):
    points = GRID.points(VarianceExploding(), 0, torch.empty(0))
    t, _ = UniformOnGrid(GRID).sample(N, VarianceExploding(), rng, 0)
    assert all(abs(share(t == point) - 1 / 8) < 5e-3 for point in points[1:])


@pytest.mark.parametrize(
    "make", [lambda: BetaPair(a=0), lambda: LogNormal(std=0), lambda: LogitNormalPair(std=-1), lambda: Diagonal(b=0)]
)
def test_parameters_are_positive(make):
    with pytest.raises(InputError, match="must be positive"):
        make()


def test_scms_law_is_that_of_its_noise_levels_by_the_datas_standard_deviation(rng):
    """arXiv 2410.11081: tan t = exp(N(-1, 1.4^2)) / sigma_d for noise of std sigma_d, so that ln sigma ~ N(-1, 1.4^2)
    for data of standard deviation .5, and moves with the data's."""
    config = compose_config("policy_train", ["data=x", "objective=scm"])
    law, path = build("times", config.times), Trigonometric()
    for std in (0.5, 1.0):
        t, s = replace(law, data_std=std).sample(N, path, rng, 0)
        level = torch.log(torch.tan(t.double()) / std)  # in units of the data
        assert abs(level.mean() - (-1 - math.log(0.5))) < 0.02
        assert abs(level.std() - 1.4) < 0.02
        assert (s == 0).all()


def test_laws_of_a_mixture_are_drawn_by_their_shares(rng):
    t, s = MIXTURE.sample(N, Linear(), rng, 0)
    assert abs(share(s == 0) - 0.75) < 0.01
    assert abs(share(t == 1) - 0.25) < 0.01
    assert share((s == 0) | (t == 1)) == 1


def test_soflows_times_have_laws_of_their_own(rng):
    """The median of t is sigmoid(.2); that of s before it is bound by t sigmoid(-1), and t lies below that rarely."""
    t, s = LogitNormalApart().sample(N, Linear(), rng, 0)
    assert abs(t.median() - 1 / (1 + math.exp(-0.2))) < 0.01
    assert abs(s.median() - 1 / (1 + math.exp(1.0))) < 0.02
    assert abs(share(s == t) - 0.5 * math.erfc(1.2 / 0.8 / 2)) < 0.01


def test_tvms_gap_is_logit_normal_and_the_end_lies_in_what_is_left(rng):
    """P(s < c | gap) is that of the logit-normal law, cut at 1 - gap."""
    t, s = (time.double() for time in LogitNormalGap().sample(N, Linear(), rng, 0))
    normal = lambda u, mean: torch.special.ndtr(torch.logit(u) - mean)  # noqa: E731
    levels = normal(t - s, -0.8)  # uniform if the gap has its law
    ends = normal(s, -0.4) / normal(1 - (t - s), -0.4)  # uniform if the end has its own, cut
    for u in (levels, ends):
        assert all(abs(share(u < q) - q) < 0.01 for q in (0.1, 0.5, 0.9))
    assert abs(torch.corrcoef(torch.stack([levels, ends]))[0, 1]) < 0.02
