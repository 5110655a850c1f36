"""The settings of a training: the config group `trainer`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from isd_core.support.errors import InputError
from isd_core.support.fields import Count, Index, NonNegative
from isd_core.training.ema import DecayLaw, PowerDecay
from isd_core.training.optimizer import AdamW, OptimizerConfig

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda u: 1.0,
    "cosine": lambda u: 0.5 * (1 + math.cos(math.pi * min(u, 1.0))),
}
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
SHARDING = ("none", "full")
REDUCE_OVERHEAD = "reduce-overhead"
COMPILE = (False, True, REDUCE_OVERHEAD)


@dataclass(frozen=True)
class TrainerConfig:
    """The `trainer` config group. Times are counted in optimiser steps.

    batch_size counts the samples of a step over all processes and all `accumulate` parts. shard="full" shards weights,
    gradients, optimiser and averages among the processes; checkpoints are the same as without. `ema` is the average
    that is sampled by default, `averages` are further ones by name, kept as ema_<name>.
    """

    steps: Count
    batch_size: Count
    accumulate: Count = 1
    device: str = "auto"
    data_on_device: bool = False
    precision: str = "float32"
    shard: str = "none"
    compile: bool | str = False
    optimizer: OptimizerConfig = field(default_factory=AdamW)
    schedule: str = "cosine"
    warmup: Index = 500
    clip_norm: NonNegative | None = 1.0
    ema: DecayLaw = field(default_factory=PowerDecay)
    averages: Mapping[str, DecayLaw] = field(default_factory=dict)
    log_every: Count = 50
    diagnose_every: Index = 500
    checkpoint_every: Count = 1000
    keep_checkpoints: Count = 2
    max_skipped: Count = 10

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "log_every",
            "checkpoint_every",
            "keep_checkpoints",
            "max_skipped",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"trainer.{name} must be at least 1, not {getattr(self, name)}.")
        if self.clip_norm is not None and not 0 <= self.clip_norm < math.inf:
            raise InputError(f"trainer.clip_norm={self.clip_norm}: expected a gradient norm; 0 or null clips nothing.")
        choices: dict[str, Collection[Any]] = {"schedule": SCHEDULES, "precision": PRECISIONS, "shard": SHARDING}
        for name, known in (choices | {"compile": COMPILE}).items():
            if getattr(self, name) not in known:
                said = ", ".join(map(str, known))
                raise InputError(f"trainer.{name}={getattr(self, name)} is unknown; known: {said}.")
        if self.compile == REDUCE_OVERHEAD and self.shard != "none":
            raise InputError(
                "trainer.compile=reduce-overhead does not go with sharded weights; with trainer.shard use compile=true."
            )
