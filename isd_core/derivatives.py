"""Directional derivatives of a network F(x; t, s): d/dh F(x + h dx; t + h dt, s + h ds) at h = 0.

The Eulerian residual takes the direction (v, 1, 0), the Lagrangian one (0, 0, 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isd_core.flow_map import expand
from isd_core.network import Cond, VelocityNet, stack
from isd_core.support.errors import InputError
from isd_core.support.fields import Positive
from isd_core.support.registry import register, role

TF32 = "tf32"
PRECISIONS = ("float32", TF32, "autocast")


@role("derivative", "derivatives")
class Derivative(ABC):
    """A way to differentiate a network along a direction."""

    @abstractmethod
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
        step (`Path.unit` of the time that moves; 1 if None), by which finite differences are scaled; graph: keep the
        graph to the network's parameters.
        """
        ...


@register("derivative", "jvp")
@dataclass(frozen=True)
class ExactJVP(Derivative):
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


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Inside, a GPU may (or may not) round the factors of float32 products to 10 bits; afterwards it is as it was.

    torch's own default is yes for convolutions and no for matrices. The choice is the process's, not the thread's.
    """
    before = [operator.fp32_precision for operator in _operators()]
    _set_precisions([TF32 if allowed else "ieee"] * len(before))
    try:
        yield
    finally:
        _set_precisions(before)


def _operators() -> tuple[Any, ...]:
    """What torch keeps a precision for on a GPU: products of matrices, convolutions, recurrent layers."""
    cudnn: Any = torch.backends.cudnn
    return torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn


def _set_precisions(precisions: Sequence[str]) -> None:
    # torch keeps the choice twice, in older flags and under newer names, and refuses to read flags that contradict the
    # names: the flags are set first, since they write some of the names, and then the names one by one
    torch.backends.cuda.matmul.allow_tf32 = precisions[0] == TF32
    torch.backends.cudnn.allow_tf32 = precisions[1] == TF32
    for operator, precision in zip(_operators(), precisions, strict=True):
        operator.fp32_precision = precision


@register("derivative", "difference")
@dataclass(frozen=True)
class CentralDifference(Derivative):
    """(F(+h) - F(-h)) / 2h from one call of 2B rows, h = eps in path time (times t on the variance-exploding path).

    The two passes are a difference of nearly equal numbers. precision, whatever the training's: `float32`, which on a
    GPU needs `matmul_precision` around the step (with TF32 the derivative of the 66M U-Net errs by a quarter instead of
    a thousandth, measured on an H100); `tf32`, a third of the time there, with eps near 0.05 (an error of 3 %);
    `autocast`, the training's own (bfloat16 then needs eps near 0.02). t + h and t - h are not clamped to the path.
    """

    eps: Positive = 0.005
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


def matmul_precision(derivative: Derivative | None) -> AbstractContextManager[None]:
    """For a step: TF32 as a derivative's passes need it; what takes no differences, or in autocast, leaves it alone."""
    if isinstance(derivative, CentralDifference) and derivative.precision != "autocast":
        return tf32(derivative.precision == TF32)
    return nullcontext()
