"""Laws of the time pair (t, s), 0 <= s <= t <= T: where on the flow map an objective looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Generator, Tensor

from isd_core.curricula import Curriculum
from isd_core.paths import Path, VarianceExploding
from isd_core.support.device import in_float64, on_device
from isd_core.support.errors import InputError
from isd_core.support.fields import Positive, Range, Real
from isd_core.support.registry import register, role


@role("times", "times")
class TimeLaw(ABC):
    """A law of (t, s).

    proportional: it spreads over [0, T] in proportion, which does not suit a path on which T is a noise scale;
    fixed_end: s is the path's end in every pair, so that F(x; t, t) is never asked for.
    """

    proportional: ClassVar[bool] = False
    fixed_end: ClassVar[bool] = False

    @abstractmethod
    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        """`n` pairs, t and s each [n] in path time with s <= t, on the generator's device."""

    def check(self, path: Path) -> None:
        """Raises `InputError` when this law makes no sense on `path`."""
        if self.proportional and isinstance(path, VarianceExploding):
            raise InputError(
                f"The time law {type(self).__name__} spreads times evenly over [0, T], which on "
                "path=variance_exploding means almost pure noise; use a lognormal law (LogNormalPair, or "
                "LogNormal as in objective=ect) or another path."
            )


def beta(n: int, a: float, b: float, rng: Generator) -> Tensor:
    """[n] draws from Beta(a, b)."""
    shape = on_device([a, b], rng.device).repeat(n, 1)
    gamma = torch._standard_gamma(shape, generator=rng)
    return gamma[:, 0] / gamma.sum(dim=1)


def _positive(name: str, **values: float) -> None:
    for key, value in values.items():
        if not value > 0:
            raise InputError(f"{name}.{key} must be positive, not {value}.")


@register("times", "beta_pair")
@dataclass(frozen=True)
class BetaPair(TimeLaw):
    """t, s = max, min of two Beta(a, b) draws times T: the time relaxation s < t (arXiv 2601.22679)."""

    proportional: ClassVar[bool] = True

    a: Positive = 0.8
    b: Positive = 1.0

    def __post_init__(self) -> None:
        _positive("BetaPair", a=self.a, b=self.b)

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        u, v = path.T * beta(2 * n, self.a, self.b, rng).view(2, n)
        return torch.maximum(u, v), torch.minimum(u, v)


@register("times", "fixed_end")
@dataclass(frozen=True)
class FixedEnd(TimeLaw):
    """t from Beta(a, b) times T, s = 0: every jump goes to the data, as in consistency training."""

    proportional: ClassVar[bool] = True
    fixed_end: ClassVar[bool] = True

    a: Positive = 0.8
    b: Positive = 1.0

    def __post_init__(self) -> None:
        _positive("FixedEnd", a=self.a, b=self.b)

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        t = path.T * beta(n, self.a, self.b, rng)
        return t, torch.zeros_like(t)


@register("times", "diagonal")
@dataclass(frozen=True)
class Diagonal(TimeLaw):
    """s = t from Beta(a, b) times T: flow matching alone."""

    proportional: ClassVar[bool] = True

    a: Positive = 1.0
    b: Positive = 1.0

    def __post_init__(self) -> None:
        _positive("Diagonal", a=self.a, b=self.b)

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        t = path.T * beta(n, self.a, self.b, rng)
        return t, t


@register("times", "logit_normal_pair")
@dataclass(frozen=True)
class LogitNormalPair(TimeLaw):
    """t, s = max, min of two logit-normal draws times T (MeanFlow, arXiv 2505.13447: mean -0.4, std 1)."""

    proportional: ClassVar[bool] = True

    mean: Real = -0.4
    std: Positive = 1.0

    def __post_init__(self) -> None:
        _positive("LogitNormalPair", std=self.std)

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(2, n, generator=rng, device=rng.device)
        u, v = path.T * torch.sigmoid(self.mean + self.std * noise)
        return torch.maximum(u, v), torch.minimum(u, v)


@register("times", "logit_normal_apart")
@dataclass(frozen=True)
class LogitNormalApart(TimeLaw):
    """t and s by logit-normal laws of their own, s at most t, both times T (SoFlow, arXiv 2512.15657)."""

    proportional: ClassVar[bool] = True

    t_mean: Real = 0.2
    t_std: Positive = 0.8
    s_mean: Real = -1.0
    s_std: Positive = 0.8

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(2, n, generator=rng, device=rng.device)
        t = torch.sigmoid(self.t_mean + self.t_std * noise[0])
        s = torch.sigmoid(self.s_mean + self.s_std * noise[1])
        return path.T * t, path.T * torch.minimum(s, t)


@register("times", "logit_normal_gap")
@dataclass(frozen=True)
class LogitNormalGap(TimeLaw):
    """t - s logit-normal, then s logit-normal within what is left of [0, 1], times T (Terminal Velocity Matching, arXiv
    2511.19797).
    """

    proportional: ClassVar[bool] = True

    gap_mean: Real = -0.8
    gap_std: Positive = 1.0
    s_mean: Real = -0.4
    s_std: Positive = 1.0

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        # float64: the truncated law is drawn by its quantiles, which float32 rounds to infinity at both ends
        noise = in_float64(torch.randn, n, rng)
        gap = torch.sigmoid(self.gap_mean + self.gap_std * noise)
        most = torch.special.ndtr((torch.logit(1 - gap) - self.s_mean) / self.s_std)
        share = in_float64(torch.rand, n, rng).clamp_min(1e-12)
        s = torch.sigmoid(self.s_mean + self.s_std * torch.special.ndtri(share * most)).minimum(1 - gap)
        return (path.T * (s + gap)).float().to(rng.device), (path.T * s).float().to(rng.device)


@register("times", "logit_normal")
@dataclass(frozen=True)
class LogitNormal(TimeLaw):
    """s = t, logit-normal times T: a law for flow matching alone."""

    proportional: ClassVar[bool] = True

    mean: Real = -0.4
    std: Positive = 1.0

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        t = path.T * torch.sigmoid(self.mean + self.std * torch.randn(n, generator=rng, device=rng.device))
        return t, t


@register("times", "mixture")
@dataclass(frozen=True)
class MixtureOfLaws(TimeLaw):
    """Each pair by one of several laws (FACM, arXiv 2507.03738; DE-CM, arXiv 2602.10764).

    laws: by names of one's choice; shares: how often each is drawn, in any unit, by the same names.
    """

    laws: Mapping[str, TimeLaw]
    shares: Mapping[str, Positive]

    def __post_init__(self) -> None:
        if not self.laws or self.laws.keys() != self.shares.keys():
            raise InputError(
                f"times.shares is for {', '.join(self.shares) or 'nothing'} and times.laws for "
                f"{', '.join(self.laws) or 'nothing'}: give at least one law, and each its share."
            )
        object.__setattr__(self, "proportional", any(law.proportional for law in self.laws.values()))
        object.__setattr__(self, "fixed_end", all(law.fixed_end for law in self.laws.values()))

    def check(self, path: Path) -> None:
        for law in self.laws.values():
            law.check(path)

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        shares = on_device([float(self.shares[name]) for name in self.laws], rng.device)
        which = torch.multinomial(shares, n, replacement=True, generator=rng)
        t, s = (torch.empty(n, device=rng.device) for _ in range(2))
        # every law draws n pairs, so that how many it is given decides nothing about the others' numbers
        for index, law in enumerate(self.laws.values()):
            drawn = law.sample(n, path, rng, step)
            t, s = (torch.where(which == index, new, old) for new, old in zip(drawn, (t, s), strict=True))
        return t, s


@register("times", "from_noise")
@dataclass(frozen=True)
class FromNoise(TimeLaw):
    """t = T, s from Beta(a, b) times T: jumps that start from noise, as every sample does."""

    proportional: ClassVar[bool] = True

    a: Positive = 1.0
    b: Positive = 1.0

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        s = path.T * beta(n, self.a, self.b, rng)
        return torch.full_like(s, path.T), s


@register("times", "log_normal")
@dataclass(frozen=True)
class LogNormal(TimeLaw):
    """ln of the noise-to-signal ratio normal, s = the path's end (EDM's and iCT's law; sCM's on the trigonometric
    path).

    The ratio is exp(N) data_std: with data_std the data's standard deviation, mean and std are those of the noise in
    units of the data; with 1 those of the noise itself. On the variance-exploding path t is the ratio, within
    [sigma_min, sigma_max]; on the trigonometric one t = arctan(ratio).
    """

    fixed_end: ClassVar[bool] = True

    mean: Real = -1.1
    std: Positive = 2.0
    data_std: Positive = 1.0

    def __post_init__(self) -> None:
        _positive("LogNormal", std=self.std)

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        ratio = self.data_std * (self.mean + self.std * torch.randn(n, generator=rng, device=rng.device)).exp()
        t = path.time_of(ratio)
        return t, torch.full_like(t, path.end)


@register("times", "log_normal_pair")
@dataclass(frozen=True)
class LogNormalPair(TimeLaw):
    """t, s = max, min of two times whose noise-to-signal ratios are lognormal: the time relaxation on any path."""

    mean: Real = -1.1
    std: Positive = 2.0

    def __post_init__(self) -> None:
        _positive("LogNormalPair", std=self.std)

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(2, n, generator=rng, device=rng.device)
        u, v = path.time_of((self.mean + self.std * noise).exp())
        return torch.maximum(u, v), torch.minimum(u, v)


@register("times", "dyadic")
@dataclass(frozen=True)
class Dyadic(TimeLaw):
    """Jumps of length T 2^-k, k = 0 ... levels, starting at multiples of their length (shortcut, arXiv 2410.12557)."""

    proportional: ClassVar[bool] = True

    levels: Annotated[int, Range(least=0, most=60)] = 6

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        count = 2 ** torch.randint(self.levels + 1, (n,), generator=rng, device=rng.device)
        k = 1 + (torch.rand(n, generator=rng, device=rng.device) * count).long().clamp_max(count - 1)
        return path.T * k / count, path.T * (k - 1) / count


@register("grid", "karras")
@role("grid", "grids")
@dataclass(frozen=True)
class KarrasGrid:
    """N(k) times between the path's end and T, (end^(1/rho) + i/(N-1) (T^(1/rho) - end^(1/rho)))^rho (EDM)."""

    size: Curriculum
    rho: Positive = 7.0

    def points(self, path: Path, step: int, like: Tensor) -> Tensor:
        """[N] increasing times in `like`'s dtype and device."""
        n = int(self.size(step))
        u = torch.linspace(0, 1, n, dtype=torch.float64)
        first, last = path.end ** (1 / self.rho), path.T ** (1 / self.rho)
        points = (first + u * (last - first)) ** self.rho
        points[0], points[-1] = path.end, path.T
        return points.to(like.dtype).to(like.device, non_blocking=True)  # no step waits for the device


@register("times", "log_normal_on_grid")
@dataclass(frozen=True)
class LogNormalOnGrid(TimeLaw):
    """t = sigma_{n+1} of a grid, n drawn with the mass that a lognormal gives [sigma_n, sigma_{n+1}]; s = the path's
    end.

    iCT (arXiv 2310.14189, section 3.5): p(n) ~ erf((ln sigma_{n+1} - mean) / (sqrt2 std)) - the same at sigma_n.
    """

    fixed_end: ClassVar[bool] = True

    grid: KarrasGrid
    mean: Real = -1.1
    std: Positive = 2.0

    def probabilities(self, points: Tensor) -> Tensor:
        """[N - 1] probabilities of the intervals between the grid's points."""
        cdf = torch.erf((points.log() - self.mean) / (2**0.5 * self.std))
        mass = cdf.diff()
        return mass / mass.sum()

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        points = self.grid.points(path, step, torch.empty(0, device=rng.device))
        index = torch.multinomial(self.probabilities(points), n, replacement=True, generator=rng)
        t = points[index + 1]
        return t, torch.full_like(t, path.end)


@register("times", "uniform_on_grid")
@dataclass(frozen=True)
class UniformOnGrid(TimeLaw):
    """t uniform on the grid's points above its first, s = the path's end (consistency models, arXiv 2303.01469)."""

    fixed_end: ClassVar[bool] = True

    grid: KarrasGrid

    def sample(self, n: int, path: Path, rng: Generator, step: int) -> tuple[Tensor, Tensor]:
        points = self.grid.points(path, step, torch.empty(0, device=rng.device))
        index = torch.randint(1, len(points), (n,), generator=rng, device=rng.device)
        t = points[index]
        return t, torch.full_like(t, path.end)
