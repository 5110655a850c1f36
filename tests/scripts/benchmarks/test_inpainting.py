"""A chunk whose beginning is known: the policy itself where nothing is, and otherwise it follows what is known."""

import numpy as np
import pytest
import torch

from isd_core.network import Cond
from isd_core.paths import Linear, Trigonometric, VarianceExploding
from isd_core.sampling import ConsistencySampler, FlowMapSampler
from isd_core.support.errors import InputError
from isd_policy.backend import Call
from isd_policy.build import build_policy
from scripts.benchmarks.inpainting import Inpainted, Inpainting

KNOWN = np.full((4, 7), 0.3)


@pytest.fixture
def answer(policy, observations):
    """answer(nfe, prefix): the chunk [15, 7] of a call with that prefix; without a number of calls the policy's own."""
    rows = [policy.row(obs) for obs in observations(2)]

    def call(nfe, prefix=None, plain=False):
        if plain:
            return policy.infer(policy.preprocess([Call(rows, (0, 0))]), nfe)[0]
        wrapped = Inpainted(policy, nfe)
        return wrapped.infer(wrapped.preprocess([Call(rows, (0, 0), prefix)]))[0]

    return call


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_without_a_prefix_it_is_the_policy(answer, nfe):
    np.testing.assert_array_equal(answer(nfe), answer(nfe, plain=True))


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_the_chunk_begins_with_the_prefix(answer, nfe):
    np.testing.assert_allclose(answer(nfe, KNOWN)[:4], KNOWN, atol=1e-6)


def test_the_rest_of_the_chunk_follows_from_two_calls_on(answer):
    one, two = (np.abs(answer(n, KNOWN) - answer(n, plain=True))[4:].max() for n in (1, 2))
    assert one == 0
    assert two > 1e-4


def test_a_prefix_as_long_as_the_chunk_is_the_chunk(answer):
    known = np.linspace(-0.4, 0.8, 20)[:, None] * np.ones(7)
    np.testing.assert_allclose(answer(2, known), known[:15], atol=1e-6)


@pytest.mark.parametrize("path", [Linear(), Trigonometric(), VarianceExploding()], ids=lambda path: type(path).__name__)
def test_between_two_jumps_the_known_part_is_on_its_path(path):
    """The network sees alpha x + sigma z where x is known."""
    z, known, seen = torch.randn(3, 6, 2), torch.rand(3, 2, 2), []

    def net(x: torch.Tensor, t: torch.Tensor, s: torch.Tensor, cond: Cond) -> torch.Tensor:
        seen.append((x, t))
        return torch.zeros_like(x)

    Inpainting(path, known, first=1)(net, z, 3, {})
    for x, t in seen[1:]:
        at = path.coefficients(t[:, None, None])
        torch.testing.assert_close(x[:, 1:3], at.alpha * known + at.sigma * z[:, 1:3])


def test_a_sampler_that_does_not_jump_is_refused(config, normaliser):
    policy = build_policy(config, normaliser)
    assert isinstance(policy.sampler, FlowMapSampler)
    policy.sampler = ConsistencySampler(policy.sampler.path)
    with pytest.raises(InputError, match="ConsistencySampler"):
        Inpainted(policy)
