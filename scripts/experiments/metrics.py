"""Measures of a flow map on data whose marginal velocity is known in closed form, all on one footing.

Networks on different paths are compared through the linear path: x_lin = x / (alpha + sigma) at the time of the same
ratio sigma / alpha turns the trajectories of one Gaussian path into those of another, so the residual of every method
is measured at the same points, in the same units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from isd_core.closed_form import Gaussian, Mixture
from isd_core.flow_map import FlowMap, expand
from isd_core.network import VelocityNet
from isd_core.paths import Linear, Path
from isd_core.times import BetaPair, FixedEnd, TimeLaw

EARLIEST, LATEST = 0.002, 0.98  # of t: outside, the variance-exploding path has no time of the same sigma / alpha
LAWS: dict[str, TimeLaw] = {"pair": BetaPair(0.8, 1.0), "end": FixedEnd(0.8, 1.0)}
INTEGRATION_STEPS = 100


@dataclass(frozen=True)
class OnLinearPath:
    """The flow map f(x; t, s) of `net`, trained on `path`, in the coordinates and the time of the linear path."""

    net: VelocityNet
    path: Path

    def __call__(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """x: [B, ...] on the linear path at t; t, s: [B] in [0, `LATEST`], below `EARLIEST` the path's end is meant."""
        start, end = (self.path.time_of(time / (1 - time)) for time in (t, s))
        a, b = self.path.coefficients(expand(start, x)), self.path.coefficients(expand(end, x))
        x = x * (a.alpha + a.sigma)
        jumped = FlowMap(self.path).jump(x, self.net(x, start, end, {}), start, end)
        return jumped / (b.alpha + b.sigma)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """df/ds at s = t, the map's own diagonal."""
        t = t.clamp_min(EARLIEST)
        return torch.func.jvp(lambda s: self(x, t, s), (t,), (torch.ones_like(t),))[1]


@dataclass(frozen=True)
class Residuals:
    """Means of squares, summed over dimensions. exact: L_ED = E|df/dt along v*|^2 with the exact marginal velocity v*.

    It has two sources: own: the same along the map's own diagonal (what self-distillation makes small); diagonal:
    E|df/ds at s = t - v*|^2 (what flow matching makes small).
    """

    exact: float
    own: float
    diagonal: float


@torch.no_grad()
def residuals(net: VelocityNet, path: Path, data: Mixture | Gaussian, x: Tensor, z: Tensor, law: str) -> Residuals:
    """The residuals of a network trained on `path`.

    data: on the linear path; x, z: [n, d] data and noise in float64. Times follow `LAWS[law]`: `pair` is s < t, `end`
    is s = 0.
    """
    t, s = LAWS[law].sample(len(x), Linear(), torch.Generator().manual_seed(0), 0)
    t, s = t.to(x).clamp(EARLIEST, LATEST), s.to(x).clamp_max(LATEST)
    x_t, _ = FlowMap(Linear()).interpolate(x, z, t)
    flow, true = OnLinearPath(net, path), data.velocity(x_t, t)
    diagonal = flow.velocity(x_t, t)

    def along(v: Tensor) -> Tensor:
        return torch.func.jvp(flow, (x_t, t, s), (v, torch.ones_like(t), torch.zeros_like(s)))[1]

    return Residuals(*(_mean_square(error) for error in (along(true), along(diagonal), diagonal - true)))


def _mean_square(error: Tensor) -> float:
    return float(error.square().flatten(1).sum(1).mean())


@torch.no_grad()
def steepness(net: VelocityNet, path: Path, x: Tensor) -> float:
    """The geometric mean of |df/dx|_F of the map from noise x [n, d] at `LATEST` to the data: small for flat maps."""
    t = torch.full((len(x),), LATEST, dtype=x.dtype)
    flow, s = OnLinearPath(net, path), torch.zeros(len(x), dtype=x.dtype)
    columns = [torch.func.jvp(lambda x: flow(x, t, s), (x,), (unit(x, i),))[1] for i in range(x.shape[1])]
    return _geometric_norm(columns)


@torch.no_grad()
def true_steepness(data: Mixture, x: Tensor) -> float:
    """The same of the true map: the ODE of v* and its variational equation by Runge-Kutta (order 4). data: on the
    linear path."""
    times = torch.linspace(LATEST, 0, INTEGRATION_STEPS + 1, dtype=x.dtype).tolist()
    state = [x, *(unit(x, i) for i in range(x.shape[1]))]
    for t, s in pairwise(times):
        h, middle = s - t, (t + s) / 2
        k1 = _slope(data, state, t)
        k2 = _slope(data, _moved(state, k1, h / 2), middle)
        k3 = _slope(data, _moved(state, k2, h / 2), middle)
        k4 = _slope(data, _moved(state, k3, h), s)
        state = [y + h / 6 * (a + 2 * b + 2 * c + d) for y, a, b, c, d in zip(state, k1, k2, k3, k4, strict=True)]
    return _geometric_norm(state[1:])


def _slope(data: Mixture, state: list[Tensor], t: float) -> list[Tensor]:
    x, columns = state[0], state[1:]
    times = torch.full((len(x),), t, dtype=x.dtype)
    tangents = [torch.func.jvp(lambda x: data.velocity(x, times), (x,), (column,))[1] for column in columns]
    return [data.velocity(x, times), *tangents]


def _moved(state: list[Tensor], slope: list[Tensor], h: float) -> list[Tensor]:
    return [y + h * k for y, k in zip(state, slope, strict=True)]


def _geometric_norm(columns: list[Tensor]) -> float:
    squares = torch.stack(columns).square().flatten(2).sum((0, 2))
    return float(squares.clamp_min(1e-300).log().mean().div(2).exp())


def unit(x: Tensor, i: int) -> Tensor:
    """[n, d] rows of the i-th unit vector."""
    direction = torch.zeros_like(x)
    direction[:, i] = 1
    return direction


def energy_distance(a: Tensor, b: Tensor, within_b: float | None = None) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of samples a [n, d] and b [m, d], unbiased (it may come out below 0).

    within_b: the last term, where it is known.
    """
    between = float(torch.cdist(a, b).mean())
    return 2 * between - mean_distance(a) - (mean_distance(b) if within_b is None else within_b)


def mean_distance(a: Tensor) -> float:
    """E|X - X'| over the pairs of different samples a [n, d]."""
    return float(torch.pdist(a).mean())


@dataclass(frozen=True)
class Modes:
    """Where samples lie among a mixture's modes. masses: shares of the samples outside `far` by nearest mode, in
    `groups` equal groups of neighbours; far: the share farther than `radius` from every mode."""

    masses: list[float]
    far: float


def modes(samples: Tensor, data: Mixture, radius: float, groups: int) -> Modes:
    """`Modes` of samples [n, d]."""
    distances, nearest = torch.cdist(samples, torch.tensor(data.means, dtype=samples.dtype)).min(1)
    far = distances > radius
    group = nearest[~far] * groups // len(data.means)
    masses = torch.bincount(group, minlength=groups).double() / len(samples)
    return Modes(masses.tolist(), float(far.double().mean()))


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's correlation; None for fewer than four points or where one of the two does not vary."""
    if len(a) < 4:
        return None
    x, y = (np.argsort(np.argsort(values)).astype(float) for values in (a, b))
    if len(set(a)) == 1 or len(set(b)) == 1:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def finite(value: float) -> float | None:
    """The value for JSON: None for NaN and infinities."""
    return value if math.isfinite(value) else None
