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
from isd_policy.prefix import Inpainting, PrefixConditioned

KNOWN = np.full((4, 7), 0.3)


@pytest.fixture
def inputs(policy, observations):
    rows = [policy.row(obs) for obs in observations(4)]
    return policy.preprocess([Call(rows[:2], (0, 0)), Call(rows[2:], (0, 1))])


def conditioned(policy, nfe, known):
    return PrefixConditioned(policy, nfe, lambda: known)


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_without_a_prefix_it_is_the_policy(policy, inputs, nfe):
    np.testing.assert_array_equal(PrefixConditioned(policy, nfe).infer(inputs), policy.infer(inputs, nfe))
    np.testing.assert_array_equal(conditioned(policy, nfe, KNOWN[:0]).infer(inputs), policy.infer(inputs, nfe))


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_the_chunk_begins_with_the_prefix(policy, inputs, nfe):
    chunk = conditioned(policy, nfe, KNOWN).infer(inputs)
    np.testing.assert_allclose(chunk[:, :4], np.broadcast_to(KNOWN, (2, 4, 7)), atol=1e-6)


def test_the_rest_of_the_chunk_follows_from_two_calls_on(policy, inputs):
    one, two = (
        np.abs(conditioned(policy, n, KNOWN).infer(inputs) - policy.infer(inputs, n))[:, 4:].max() for n in (1, 2)
    )
    assert one == 0
    assert two > 1e-4


def test_a_prefix_as_long_as_the_chunk_is_the_chunk(policy, inputs):
    known = np.linspace(-0.4, 0.8, 20)[:, None] * np.ones(7)
    chunk = conditioned(policy, 2, known).infer(inputs)
    np.testing.assert_allclose(chunk, np.broadcast_to(known[:15], chunk.shape), atol=1e-6)


def test_the_prefix_is_asked_at_every_call(policy, inputs):
    prefixes = [KNOWN, KNOWN[:0], -KNOWN]
    wrapped = PrefixConditioned(policy, 2, lambda: prefixes.pop(0))
    first, free, last = (wrapped.infer(inputs)[:, 0] for _ in range(3))
    np.testing.assert_allclose(first, 0.3, atol=1e-6)
    np.testing.assert_array_equal(free, policy.infer(inputs, 2)[:, 0])
    np.testing.assert_allclose(last, -0.3, atol=1e-6)


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
        PrefixConditioned(policy)
