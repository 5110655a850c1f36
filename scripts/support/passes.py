"""What a training step costs in passes of the network over one batch, counted while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from isd_core.derivatives import Derivative
from isd_core.network import Cond


@dataclass
class Passes:
    """Forward passes of a step, in batches (rows through a network / rows of the batch).

    graded: with a graph, so that a backward pass follows; ungraded: without; derivative, graded_derivative: the passes
    that a finite difference takes (an exact derivative counts as one), without and with a graph. calls: the rows of
    each call of a network, and whether it had a graph.
    """

    graded: float = 0.0
    ungraded: float = 0.0
    derivative: float = 0.0
    graded_derivative: float = 0.0
    calls: list[tuple[int, bool]] = field(default_factory=list)

    @property
    def total(self) -> float:
        """All forward passes."""
        return self.graded + self.ungraded + self.derivative + self.graded_derivative


class _Flagged:
    """A derivative that tells the counter while it runs."""

    def __init__(self, inner: Derivative) -> None:
        self.inner = inner
        self.running = False

    def along(self, *args: Any, **kwargs: Any) -> Tensor:
        self.running = True
        try:
            return self.inner.along(*args, **kwargs)
        finally:
            self.running = False


def count_passes(objective: Any, net: nn.Module, x: Tensor, cond: Cond, rng: Generator, step: int) -> Passes:
    """The passes of one call of `objective` on x [B, ...], a teacher's among them. The weights are left as they are."""
    passes, flagged = Passes(), None
    if hasattr(objective, "derivative"):
        flagged = _Flagged(objective.derivative)
        objective = replace(objective, derivative=flagged)

    def count(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        share, graded = len(inputs[0]) / len(x), torch.is_grad_enabled()
        passes.calls.append((len(inputs[0]), graded))
        if flagged is not None and flagged.running:
            if graded:
                passes.graded_derivative += share
            else:
                passes.derivative += share
        elif graded:
            passes.graded += share
        else:
            passes.ungraded += share

    with ExitStack() as hooks:
        for module in {id(module): module for module in (net, *objective.frozen())}.values():
            hooks.enter_context(_hook(module, count))
        objective(net, x, cond, rng, step)
    return passes


@contextmanager
def _hook(module: nn.Module, function: Any) -> Iterator[None]:
    handle = module.register_forward_pre_hook(function)
    try:
        yield
    finally:
        handle.remove()
