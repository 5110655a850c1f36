"""Data whose flow is known in closed form: the truth that objectives are held against.

Each class samples data and gives the marginal velocity v*(x, t) = E[v_t | x_t = x]; where the flow map itself is known,
the object is also a `VelocityNet` that returns the exact F(x; t, s).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isd_core.flow_map import FlowMap, expand
from isd_core.network import Cond
from isd_core.paths import Path


@dataclass(frozen=True)
class Gaussian:
    """x ~ N(mean, std^2 I) of any shape [B, ...]; its flow map is affine: f = m_s + (S_s / S_t) (x - m_t)."""

    path: Path
    mean: float = 0.0
    std: float = 0.5

    def sample(self, shape: tuple[int, ...], rng: Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        """Data of the given shape."""
        return self.mean + self.std * torch.randn(shape, generator=rng, device=rng.device, dtype=dtype)

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The mean m_t and the standard deviation S_t of x_t."""
        c = self.path.coefficients(t)
        return c.alpha * self.mean, (c.alpha**2 * self.std**2 + c.sigma**2).sqrt()

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """v*(x, t)."""
        t = expand(t, x)
        c = self.path.coefficients(t)
        mean, S = self.moments(t)
        dS = (c.alpha * c.d_alpha * self.std**2 + c.sigma * c.d_sigma) / S
        return c.d_alpha * self.mean + dS / S * (x - mean)

    def flow(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """f(x; t, s)."""
        (mean_t, S_t), (mean_s, S_s) = self.moments(expand(t, x)), self.moments(expand(s, x))
        return mean_s + S_s / S_t * (x - mean_t)

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond | None = None) -> Tensor:
        """The exact F(x; t, s)."""
        return FlowMap(self.path).invert(x, self.flow(x, t, s), self.velocity(x, t), t, s)


@dataclass(frozen=True)
class Mixture:
    """A mixture of isotropic Gaussians of equal spread in d dimensions. means: [K, d] as nested tuples; x: [B, d]."""

    path: Path
    means: tuple[tuple[float, ...], ...]
    std: float

    @classmethod
    def on_circle(cls, path: Path, modes: int = 8, radius: float = 1.5, std: float = 0.1) -> Mixture:
        """`modes` equal Gaussians on a circle."""
        angles = [2 * math.pi * k / modes for k in range(modes)]
        return cls(path, tuple((radius * math.cos(a), radius * math.sin(a)) for a in angles), std)

    def _means(self, like: Tensor) -> Tensor:
        return torch.tensor(self.means, device=like.device, dtype=like.dtype)

    def sample(self, n: int, rng: Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        """[n, d] data."""
        means = torch.tensor(self.means, device=rng.device, dtype=dtype)
        which = torch.randint(len(means), (n,), generator=rng, device=rng.device)
        noise = torch.randn((n, means.shape[1]), generator=rng, device=rng.device, dtype=dtype)
        return means[which] + self.std * noise

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """v*(x, t) from the posterior means of data and noise under each component."""
        c = self.path.coefficients(t[:, None, None])
        offset = x[:, None, :] - c.alpha * self._means(x)  # [B, K, d]
        variance = c.alpha**2 * self.std**2 + c.sigma**2
        weights = (-(offset**2).sum(-1, keepdim=True) / (2 * variance)).softmax(dim=1)
        data = self._means(x) + c.alpha * self.std**2 / variance * offset
        noise = c.sigma / variance * offset
        return (weights * (c.d_alpha * data + c.d_sigma * noise)).sum(1)


@dataclass(frozen=True)
class Mixture1D:
    """A mixture of Gaussians on the line, x: [B, 1]; its flow map is f = Q_s(P_t(x)) (distribution, then quantile)."""

    path: Path
    means: tuple[float, ...] = (-1.0, 0.8)
    stds: tuple[float, ...] = (0.3, 0.5)
    weights: tuple[float, ...] = (0.4, 0.6)

    def sample(self, n: int, rng: Generator, dtype: torch.dtype = torch.float64) -> Tensor:
        """[n, 1] data."""
        weights = torch.tensor(self.weights, device=rng.device, dtype=dtype)
        which = torch.multinomial(weights, n, replacement=True, generator=rng)
        mean, std = (torch.tensor(values, device=rng.device, dtype=dtype)[which] for values in (self.means, self.stds))
        return (mean + std * torch.randn(n, generator=rng, device=rng.device, dtype=dtype))[:, None]

    def _components(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c = self.path.coefficients(t[:, None])
        means, stds, weights = (like.new_tensor(values) for values in (self.means, self.stds, self.weights))
        return c.alpha * means, (c.alpha**2 * stds**2 + c.sigma**2).sqrt(), weights

    def distribution(self, x: Tensor, t: Tensor) -> Tensor:
        """P_t(x), [B, 1]."""
        mean, std, weights = self._components(t, x)
        return (weights * torch.special.ndtr((x - mean) / std)).sum(1, keepdim=True)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """v*(x, t), [B, 1]."""
        c = self.path.coefficients(t[:, None])
        mean, std, weights = self._components(t, x)
        log = weights.log() - ((x - mean) / std) ** 2 / 2 - std.log()
        posterior = log.softmax(dim=1)
        means, stds = x.new_tensor(self.means), x.new_tensor(self.stds)
        offset = x - mean
        data, noise = means + c.alpha * stds**2 / std**2 * offset, c.sigma / std**2 * offset
        return (posterior * (c.d_alpha * data + c.d_sigma * noise)).sum(1, keepdim=True)

    def flow(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """f(x; t, s); the quantile by bisection, to float64 accuracy."""
        level = self.distribution(x, t)
        mean, std, _ = self._components(s, x)
        low = (mean - 10 * std).min(1, keepdim=True).values
        high = (mean + 10 * std).max(1, keepdim=True).values
        for _ in range(60):
            middle = (low + high) / 2
            below = self.distribution(middle, s) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond | None = None) -> Tensor:
        """The exact F(x; t, s)."""
        return FlowMap(self.path).invert(x, self.flow(x, t, s), self.velocity(x, t), t, s)
