"""Directional derivatives of a network F(x; t, s): d/dh F(x + h dx; t + h dt, s + h ds) at h = 0.

The Eulerian residual takes the direction (v, 1, 0), the Lagrangian one (0, 0, 1).
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isd_core.flow_map import expand
from isd_core.network import Cond, VelocityNet, stack
from isd_core.support.errors import InputError

PRECISIONS = ("float32", "tf32", "autocast")


class Derivative(Protocol):
    """A way to differentiate a network along a direction."""

    def along(
        self,
        net: VelocityNet,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        cond: Cond,
        *,
        dx: Tensor | None = None,
        dt: float = 0.0,
        ds: float = 0.0,
        unit: Tensor | None = None,
        graph: bool = False,
    ) -> Tensor:
        """The derivative, with x's shape.

        x: [B, ...]; t, s: [B]; dx: [B, ...] or None for 0; dt, ds: rates of the two times; unit: [B] the size of a unit
        step in time (`Path.unit`; 1 if None), by which finite differences are scaled; graph: keep the graph to the
        network's parameters.
        """
        ...


@dataclass(frozen=True)
class ExactJVP:
    """Forward-mode differentiation. Without `graph` it runs under no_grad, so that no tangent graph is kept.

    Fused attention has no forward-mode rule: the pass uses the math kernel.
    """

    def along(
        self,
        net: VelocityNet,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        cond: Cond,
        *,
        dx: Tensor | None = None,
        dt: float = 0.0,
        ds: float = 0.0,
        unit: Tensor | None = None,
        graph: bool = False,
    ) -> Tensor:
        tangents = (
            torch.zeros_like(x) if dx is None else dx.to(x.dtype),
            torch.full_like(t, dt),
            torch.full_like(s, ds),
        )
        with nullcontext() if graph else torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            dF: Tensor = torch.func.jvp(lambda x, t, s: net(x, t, s, cond), (x, t, s), tangents)[1]
        return dF


def use_tf32(allowed: bool) -> None:
    """Whether a GPU may round the factors of float32 products to 10 bits, in the whole process.

    torch's own default is yes for convolutions and no for matrices.
    """
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


@dataclass(frozen=True)
class CentralDifference:
    """(F(+h) - F(-h)) / 2h from one call of 2B rows, h = eps in path time (times t on the variance-exploding path).

    The two passes are a difference of nearly equal numbers. precision, whatever the training's: `float32`, which on a
    GPU needs `follow_precision` (with TF32 the derivative of the 66M U-Net errs by a quarter instead of a thousandth,
    measured on an H100); `tf32`, a third of the time there, with eps near 0.05 (an error of 3 %); `autocast`, the
    training's own (bfloat16 then needs eps near 0.02). t + h and t - h are not clamped to the path.
    """

    eps: float = 0.005
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"derivative.precision is one of {', '.join(PRECISIONS)}, not `{self.precision}`.")
        if not self.eps > 0:
            raise InputError(f"derivative.eps must be positive, not {self.eps}.")

    def along(
        self,
        net: VelocityNet,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        cond: Cond,
        *,
        dx: Tensor | None = None,
        dt: float = 0.0,
        ds: float = 0.0,
        unit: Tensor | None = None,
        graph: bool = False,
    ) -> Tensor:
        h = torch.full_like(t, self.eps) if unit is None else self.eps * unit
        step = 0.0 if dx is None else expand(h, x) * dx
        points = stack([(x + step, t + h * dt, s + h * ds, cond), (x - step, t - h * dt, s - h * ds, cond)])
        full = torch.autocast(x.device.type, enabled=False) if self.precision != "autocast" else nullcontext()
        with nullcontext() if graph else torch.no_grad(), full:
            plus, minus = net(*points).chunk(2)
        return (plus - minus) / (2 * expand(h, x))


def follow_precision(derivative: Derivative | None) -> None:
    """Decides about TF32 as a derivative's passes need it; what takes no differences, or in autocast, leaves it."""
    if isinstance(derivative, CentralDifference) and derivative.precision != "autocast":
        use_tf32(derivative.precision == "tf32")
