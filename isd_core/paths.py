"""Paths between data and noise, x_t = alpha(t) x + sigma(t) z with z ~ N(0, I); t = 0 is data, t = T is noise.

Every path here has a constant Wronskian nu = alpha sigma' - sigma alpha', on which the flow map's form rests.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from isd_core.support.errors import InputError
from isd_core.support.fields import Positive
from isd_core.support.registry import register, role

NU_TOLERANCE = 1e-6


class Coefficients(NamedTuple):
    """alpha, sigma and their first and second derivatives at times t; each has t's shape and dtype."""

    alpha: Tensor
    sigma: Tensor
    d_alpha: Tensor
    d_sigma: Tensor
    dd_alpha: Tensor
    dd_sigma: Tensor


@role("path", "paths")
@dataclass(frozen=True)
class Path(ABC):
    """A Gaussian path. Subclasses give `T`, `coefficients` and, where time is not in [0, 1] by nature, `clock`.

    Raises `InputError` when nu is zero or differs between two times.
    """

    def __post_init__(self) -> None:
        t = torch.linspace(self.end, self.T, 33, dtype=torch.float64, device="cpu")
        c = self.coefficients(t)
        nu = c.alpha * c.d_sigma - c.sigma * c.d_alpha
        off = (nu - nu[0]).abs()
        if nu[0].abs() < NU_TOLERANCE or off.max() > NU_TOLERANCE * nu[0].abs():
            i = int(off.argmax())
            raise InputError(
                f"{type(self).__name__} is no path for a flow map: nu = alpha sigma' - sigma alpha' must be constant "
                f"and not 0, but it is {nu[0]:.6g} at t = {t[0]:.6g} and {nu[i]:.6g} at t = {t[i]:.6g}. "
                "Rescale the path's time or choose linear, trigonometric or variance_exploding."
            )

    @property
    @abstractmethod
    def T(self) -> float:
        """The time of pure noise."""

    @property
    def end(self) -> float:
        """The time at which sampling stops."""
        return 0.0

    @property
    def nu(self) -> float:
        """The constant alpha sigma' - sigma alpha'."""
        c = self.coefficients(torch.tensor(self.T, dtype=torch.float64, device="cpu"))
        return float(c.alpha * c.d_sigma - c.sigma * c.d_alpha)

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """alpha, sigma and derivatives at path times `t` (any shape)."""

    def clock(self, t: Tensor) -> Tensor:
        """Path time to the time that a network sees, about [0, 1]."""
        return t / self.T

    def share(self, t: Tensor) -> Tensor:
        """Where `t` lies between data (0) and noise (1), in the path's own measure."""
        return t / self.T

    def unit(self, t: Tensor) -> Tensor:
        """The natural size of a time step at `t`, by which finite differences are scaled."""
        return torch.ones_like(t)

    def time_of(self, ratio: Tensor) -> Tensor:
        """The time at which sigma / alpha has the given value, within [end, T]."""
        raise InputError(
            f"{type(self).__name__} has no closed form for the time of a noise ratio; use another time law."
        )

    def prior(self, z: Tensor) -> Tensor:
        """The sampler's start x_T from standard noise `z` (any shape)."""
        return z * float(self.coefficients(torch.tensor(self.T, dtype=torch.float64)).sigma)

    def times(self, nfe: int) -> Tensor:
        """[nfe + 1] decreasing times from T to `end`, evenly spaced in the path's own measure; float64."""
        return torch.linspace(self.T, self.end, nfe + 1, dtype=torch.float64)


@register("path", "linear")
@dataclass(frozen=True)
class Linear(Path):
    """x_t = (1 - t) x + t z (rectified flow, arXiv 2209.03003); T = 1, nu = 1."""

    @property
    def T(self) -> float:
        return 1.0

    def coefficients(self, t: Tensor) -> Coefficients:
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        return Coefficients(1 - t, t, -one, one, zero, zero)

    def time_of(self, ratio: Tensor) -> Tensor:
        return ratio / (1 + ratio)


@register("path", "trigonometric")
@dataclass(frozen=True)
class Trigonometric(Path):
    """x_t = cos(t) x + sin(t) z (TrigFlow, arXiv 2410.11081); T = pi/2, nu = 1."""

    @property
    def T(self) -> float:
        return math.pi / 2

    def coefficients(self, t: Tensor) -> Coefficients:
        cos, sin = torch.cos(t), torch.sin(t)
        return Coefficients(cos, sin, -sin, cos, -cos, -sin)

    def time_of(self, ratio: Tensor) -> Tensor:
        return torch.atan(ratio)


@register("path", "variance_exploding")
@dataclass(frozen=True)
class VarianceExploding(Path):
    """x_t = x + t z (EDM, arXiv 2206.00364); T = sigma_max, nu = 1. Steps are spaced by EDM's rho rule (eq. 5)."""

    sigma_min: Positive = 0.002
    sigma_max: Positive = 80.0
    rho: Positive = 7.0

    @property
    def T(self) -> float:
        return self.sigma_max

    @property
    def end(self) -> float:
        return self.sigma_min

    def coefficients(self, t: Tensor) -> Coefficients:
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        return Coefficients(one, t, zero, one, zero, zero)

    def clock(self, t: Tensor) -> Tensor:
        """ln(t) / 4, EDM's c_noise; times below sigma_min read as sigma_min."""
        return t.clamp_min(self.sigma_min).log() / 4

    def share(self, t: Tensor) -> Tensor:
        """By the rho rule, in which steps are evenly spaced."""
        first, last = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (t.clamp_min(self.sigma_min) ** (1 / self.rho) - first) / (last - first)

    def unit(self, t: Tensor) -> Tensor:
        return t

    def time_of(self, ratio: Tensor) -> Tensor:
        return ratio.clamp(self.sigma_min, self.sigma_max)

    def times(self, nfe: int) -> Tensor:
        u = torch.linspace(0, 1, nfe + 1, dtype=torch.float64)
        first, last = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        times = (first + u * (last - first)) ** self.rho
        times[0], times[-1] = self.sigma_max, self.sigma_min
        return times
