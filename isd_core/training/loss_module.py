"""From a batch to its loss, with the network inside."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Generator, nn

from isd_core.derivatives import matmul_precision
from isd_core.dropout import keyed
from isd_core.network import Trainable, VelocityNet
from isd_core.objectives.base import Draw, LossOut, Objective
from isd_core.support.errors import InputError
from isd_core.training.config import REDUCE_OVERHEAD
from isd_core.training.diagnostics import estimates
from isd_core.training.ema import EMA
from isd_core.velocities import Averaged


class LossModule(nn.Module):
    """Batch to loss, network inside: what data-parallel wrappers wrap, so that extra passes never see the wrapper.

    keep_casts: cast the weights to the type of `autocast` once for all passes. Off for sharded weights: their gradients
    are reduced after the pass that they were gathered for, and those of a cast from an earlier pass come too late.
    Its passes run in `precision`, which is the derivative's say about TF32. What the objective asks and nothing trains,
    such as a teacher, is a part of it as `frozen`: it goes to the device with the rest and stays out of optimiser,
    averages, checkpoints and sharding.
    """

    def __init__(
        self, model: Trainable, objective: Objective, autocast: torch.dtype | None, keep_casts: bool = True
    ) -> None:
        super().__init__()
        self.model, self.objective, self.autocast, self.keep_casts = model, objective, autocast, keep_casts
        keyed(model.net)  # before anything is compiled or sharded
        weighting = getattr(objective, "weighting", None)
        self.weighting = weighting if isinstance(weighting, nn.Module) else None
        self.average = self._averaged_self()
        self.frozen = nn.ModuleList(objective.frozen()).requires_grad_(False).eval()
        self._loss = objective.loss

    def _averaged_self(self) -> EMA | None:
        """The average that the objective's averaged velocities ask, which the trainer updates."""
        sources = [source for source in self.objective.sources() if isinstance(source, Averaged)]
        if not sources:
            return None
        if len({source.decay for source in sources}) > 1:
            raise InputError("The averaged velocities of one objective are one average: give them the same decay.")
        average = EMA(self.model.net, sources[0].decay)
        followed = average.follow(self.model.net)
        for source in sources:
            source.hold(followed)
        return average

    def train(self, mode: bool = True) -> LossModule:
        """Sets what is trained to training; a teacher keeps its dropout off."""
        super().train(mode)
        self.frozen.eval()
        return self

    def precision(self) -> AbstractContextManager[None]:
        """What TF32 is set to in a step."""
        return matmul_precision(getattr(self.objective, "derivative", None))

    def compile_step(self, reduce_overhead: bool) -> None:
        """Compiles the step behind its draw: all passes of the network, the derivative among them, with their
        backward pass.

        reduce_overhead: by CUDA graphs, which write every step's results into the same memory; they are copied out.
        """
        if not reduce_overhead:
            self._loss = torch.compile(self.objective.loss)
            return
        compiled = torch.compile(self.objective.loss, mode=REDUCE_OVERHEAD)

        def loss(net: VelocityNet, draw: Draw) -> LossOut:
            torch.compiler.cudagraph_mark_step_begin()
            out = compiled(net, draw)
            return LossOut(out.loss.clone(), {name: term.clone() for name, term in out.terms.items()})

        self._loss = loss

    def forward(self, batch: Any, rng: Generator, step: int) -> LossOut:
        with torch.autocast(rng.device.type, self.autocast, self.autocast is not None, self.keep_casts):
            x, cond = self.model.prepare(batch, rng)
            return self._loss(self.model.net, self.objective.draw(x, cond, rng, step))

    @torch.no_grad()
    def diagnose(self, batch: Any, rng: Generator, step: int) -> dict[str, float]:
        """The estimates of `diagnostics` on a batch."""
        x, cond = self.model.prepare(batch, rng)
        return estimates(self.objective, self.model.net, x, cond, rng, step)
