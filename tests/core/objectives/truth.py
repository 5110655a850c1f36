"""The truth in the place of the network: F* + theta . phi at theta = 0, whose gradient says what an objective wants."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from isd_core.network import Cond


def features(x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """[3, B, d] directions in which a network may leave the truth."""
    t, s = t[:, None], s[:, None]
    return torch.stack([torch.ones_like(x) * (1 + t), x * (1 + s), torch.sin(2 * x + t - s)])


class Perturbed:
    """F* + theta . phi with theta = 0."""

    def __init__(self, truth: Callable[..., Tensor]) -> None:
        self.truth = truth
        self.theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        return self.truth(x, t, s) + torch.einsum("k,kbd->bd", self.theta, features(x, t, s))


def expected_gradient(objective, truth, batches: int = 40, size: int = 4000, step: int = 0) -> tuple[Tensor, Tensor]:
    """The mean over batches of d loss / d theta at the truth, and its standard error; each [3]."""
    gradients = []
    for seed in range(batches):
        rng = torch.Generator().manual_seed(seed)
        net = Perturbed(truth)
        x = truth.sample((size, 1), rng, torch.float64) if hasattr(truth, "std") else truth.sample(size, rng)
        (gradient,) = torch.autograd.grad(objective(Double(net), x, {}, rng, step).loss, net.theta)
        gradients.append(gradient)
    stacked = torch.stack(gradients)
    return stacked.mean(0), stacked.std(0) / batches**0.5


class Double:
    """A network that is always asked in float64, since time laws draw float32."""

    def __init__(self, net) -> None:
        self.net = net

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        return self.net(x.double(), t.double(), s.double(), cond)
