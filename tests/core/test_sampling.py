"""Samplers on the exact flow map of Gaussian data."""

import math
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from isd_core.closed_form import Gaussian
from isd_core.paths import Linear, VarianceExploding
from isd_core.sampling import (
    ConditionedSampler,
    ConsistencySampler,
    DiagonalSampler,
    FlowMapSampler,
    PostCFG,
    check_counts,
    check_nfe,
    with_inputs,
)
from isd_core.support.cli import compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import build

MEAN, STD = 0.3, 0.6


@pytest.fixture
def noise(rng):
    return torch.randn(4096, 1, generator=rng, dtype=torch.float64)


def truth(path):
    return Gaussian(path, mean=MEAN, std=STD)


def target(path, z):
    """The data of noise z under the exact map, from T to the path's end."""
    T, end = (torch.full((len(z),), time, dtype=z.dtype) for time in (path.T, path.end))
    return truth(path).flow(path.prior(z), T, end)


def test_the_diagonals_euler_steps_converge_to_the_map_with_first_order(path, noise):
    errors = [
        (DiagonalSampler(path)(truth(path), noise, nfe, {}) - target(path, noise)).abs().mean()
        for nfe in (64, 128, 256)
    ]
    assert all(abs(math.log2(a / b) - 1) < 0.15 for a, b in pairwise(errors)), errors


@pytest.mark.parametrize("nfe", [2, 4])
def test_multistep_consistency_sampling_stays_in_the_datas_law(nfe, path, noise):
    """Jump, add noise, jump: each pair takes data to data."""
    x = ConsistencySampler(path)(truth(path), noise, nfe, {})
    assert abs(float(x.mean()) - MEAN) < 8 * STD / len(x) ** 0.5
    assert abs(float(x.std()) - math.sqrt(STD**2 + path.end**2)) < 8 * STD / len(x) ** 0.5


@pytest.mark.parametrize(
    "objective, times",
    [("ict", [80.0, 0.821]), ("ect", [80.0, 0.821]), ("scm", [math.pi / 2, math.atan(0.5 * math.tan(1.1))])],
)
def test_two_steps_of_a_consistency_model_start_where_they_were_published(objective, times):
    """sigma 80 and .821; sCM's t = 1.1 for data of standard deviation 1, here .5. Other numbers are the path's."""
    config = resolved(compose_config("policy_train", ["data=x", f"objective={objective}"]))
    sampler, seen = build("sampler", config["sampler"]), []

    def net(x, t, s, cond):
        seen.append(float(t[0]))
        return truth(sampler.path)(x, t, s)

    sampler(net, torch.zeros(1, 1), 2, {})
    assert seen == pytest.approx(times, rel=1e-4)
    assert sampler.times(1) == [sampler.path.T, sampler.path.end]
    assert sampler.times(4) == sampler.path.times(4).tolist()


def test_any_falling_list_of_times_will_do(noise):
    path = VarianceExploding(sigma_max=5.0)
    sampler = ConsistencySampler(path, between=(2.0, 0.3))
    assert sampler.times(3) == [5.0, 2.0, 0.3, path.end]
    x = sampler(truth(path), noise, 3, {})
    assert abs(float(x.std()) - STD) < 8 * STD / len(x) ** 0.5
    for bad in ((0.3, 2.0), (6.0,), (0.001,)):
        with pytest.raises(InputError, match=r"sampler\.between"):
            ConsistencySampler(path, between=bad)


def test_one_step_is_the_same_jump_in_both_samplers(path, noise):
    net = truth(path)
    assert_close(ConsistencySampler(path)(net, noise, 1, {}), FlowMapSampler(path)(net, noise, 1, {}))


def test_the_added_noise_of_a_row_does_not_depend_on_its_batch(noise):
    sampler, net = ConsistencySampler(Linear()), truth(Linear())
    assert_close(sampler(net, noise[:8], 3, {})[5:6], sampler(net, noise[5:6], 3, {}))


def test_the_steps_of_the_variance_exploding_path_follow_the_rho_rule():
    """rho = 7, sigma from 80 to .002: the middle of two steps is ((80^(1/7) + .002^(1/7)) / 2)^7 = 2.5152."""
    assert_close(
        VarianceExploding().times(2), torch.tensor([80.0, 2.5152, 0.002], dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_the_inputs_of_a_network_reach_every_call(noise):
    seen = []

    class Net(torch.nn.Module):
        inputs = ("omega",)

        def forward(self, x, t, s, cond):
            seen.append(cond["omega"].tolist())
            return x

    sampler = with_inputs(FlowMapSampler(Linear()), {"omega": 3.0, "t_min": None}, Net())
    assert isinstance(sampler, ConditionedSampler)
    sampler(Net(), noise[:2], 2, {})
    assert seen == [[3.0, 3.0]] * 2
    with pytest.raises(InputError, match="takes no t_min"):
        with_inputs(FlowMapSampler(Linear()), {"t_min": 0.1}, Net())
    plain = FlowMapSampler(Linear())
    assert with_inputs(plain, {"omega": None}, torch.nn.Identity()) is plain


class TwoSteps(FlowMapSampler):
    max_nfe, usual_nfe = 2, (2,)


def test_a_sampler_says_what_it_can_do_also_inside_others(noise):
    sampler = ConditionedSampler(PostCFG(TwoSteps(Linear()), 2.0, {}), {})
    assert (sampler.max_nfe, sampler.usual_nfe, sampler.check_nfe(2)) == (2, (2,), 2)
    with pytest.raises(InputError, match="`TwoSteps` makes at most 2 network evaluations; nfe=2 is usual"):
        sampler.check_nfe(3)
    assert FlowMapSampler(Linear()).check_nfe(1000) == 1000


def test_each_number_of_evaluations_is_done_once(capsys):
    assert check_counts(4, check_nfe) == [4]
    assert check_counts([2, 1], check_nfe) == [2, 1]
    assert capsys.readouterr().err == ""
    assert check_counts([2, 1, 2], check_nfe) == [2, 1]
    assert capsys.readouterr().err == "nfe=[2, 1, 2]: each number of evaluations is done once, [2, 1].\n"
    for wrong in ([], [0], "1"):
        with pytest.raises(InputError, match="nfe="):
            check_counts(wrong, check_nfe)


@pytest.mark.parametrize("nfe", [0, -1, 1.5, True])
def test_a_number_of_evaluations_is_a_positive_integer(nfe):
    with pytest.raises(InputError, match="nfe="):
        check_nfe(nfe)
