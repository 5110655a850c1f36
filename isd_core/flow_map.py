"""The flow map f(x; t, s) = (dA x - A F(x; t, s)) / nu of a network F, and the Eulerian target for F.

With A = alpha_s sigma_t - sigma_s alpha_t, dA = dA/dt and ddA = d2A/dt2 (s fixed): f(x; t, t) = x, and df/ds at s = t
is F(x; t, t), so the network's diagonal is the velocity (arXiv 2601.22679).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from isd_core.paths import Path

NEAR_DIAGONAL = 1e-7


def expand(t: Tensor, x: Tensor) -> Tensor:
    """[B] times with trailing axes of 1, so that they broadcast over x [B, ...]."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


class Geometry(NamedTuple):
    """A(t, s) with its derivatives in t (dA, ddA) and in s (A_s, dA_s); shapes broadcast over x."""

    A: Tensor
    dA: Tensor
    ddA: Tensor
    A_s: Tensor
    dA_s: Tensor


@dataclass(frozen=True)
class FlowMap:
    """Algebra of flow maps on one path. x, z, F, v are [B, ...]; t and s are [B] in path time."""

    path: Path

    def geometry(self, t: Tensor, s: Tensor, like: Tensor) -> Geometry:
        """A(t, s) and its derivatives, broadcast over `like`."""
        c, e = self.path.coefficients(expand(t, like)), self.path.coefficients(expand(s, like))
        return Geometry(
            A=e.alpha * c.sigma - e.sigma * c.alpha,
            dA=e.alpha * c.d_sigma - e.sigma * c.d_alpha,
            ddA=e.alpha * c.dd_sigma - e.sigma * c.dd_alpha,
            A_s=e.d_alpha * c.sigma - e.d_sigma * c.alpha,
            dA_s=e.d_alpha * c.d_sigma - e.d_sigma * c.d_alpha,
        )

    def interpolate(self, x: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The point x_t = alpha x + sigma z and its conditional velocity v_t = alpha' x + sigma' z."""
        c = self.path.coefficients(expand(t, x))
        return c.alpha * x + c.sigma * z, c.d_alpha * x + c.d_sigma * z

    def jump(self, x: Tensor, F: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """f(x; t, s): the point at time s on the trajectory through x at time t, given F = F(x; t, s)."""
        g = self.geometry(t, s, x)
        return (g.dA * x - g.A * F) / self.path.nu

    def target(self, x: Tensor, F: Tensor, v: Tensor, dF: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """T = F + dA (v - F) + ddA x - A dF, with dF = (dF/dx) v + dF/dt; the true flow map has F = T.

        Never divides by dA, which reaches 0 on the trigonometric path.
        """
        g = self.geometry(t, s, x)
        return F + g.dA * (v - F) + g.ddA * x - g.A * dF

    def slope(self, x: Tensor, F: Tensor, dF: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """df/ds(x; t, s) = (dA_s x - A_s F - A dF) / nu, with dF = dF/ds; on the diagonal it is F."""
        g = self.geometry(t, s, x)
        return (g.dA_s * x - g.A_s * F - g.A * dF) / self.path.nu

    def compose(self, x: Tensor, F_tu: Tensor, F_us: Tensor, t: Tensor, u: Tensor, s: Tensor) -> Tensor:
        """The network value F(x; t, s) of f(u, s) o f(t, u), from F(x; t, u) and F(x_u; u, s), s <= u <= t.

        F = (A_us / A_ts) (F_us - dA_s(t, u) x / nu) + (A_tu / A_ts) (dA_us / nu) F_tu: a mean of the two, without the
        cancellation that (dA x - nu f) / A suffers from as t - s goes to 0. Linear: the convex mix of the two
        velocities.
        """
        nu = self.path.nu
        tu, us, ts = self.geometry(t, u, x), self.geometry(u, s, x), self.geometry(t, s, x)
        empty = ts.A == 0
        A = torch.where(empty, torch.ones_like(ts.A), ts.A)
        first = torch.where(empty, torch.ones_like(A), tu.A / A)
        return us.A / A * (F_us - tu.dA_s / nu * x) + first * us.dA / nu * F_tu

    def invert(self, x: Tensor, f: Tensor, F_tt: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The F of a map's value f = f(x; t, s): (dA x - nu f) / A, and F_tt where A is nearly 0."""
        g = self.geometry(t, s, x)
        near = g.A.abs() < NEAR_DIAGONAL
        F = (g.dA * x - self.path.nu * f) / torch.where(near, torch.ones_like(g.A), g.A)
        return torch.where(near, F_tt, F)

    def endpoints(self, x: Tensor, F: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The data and the noise that the diagonal F = F(x; t, t) stands for: (x_hat, z_hat)."""
        c = self.path.coefficients(expand(t, x))
        return (c.d_sigma * x - c.sigma * F) / self.path.nu, (c.alpha * F - c.d_alpha * x) / self.path.nu
