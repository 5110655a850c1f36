"""Data-parallel training under torchrun: who this process is, and what the processes tell each other.

Without torchrun there is one process and every function here is the identity.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from isd_core.support.errors import InputError
from isd_core.training import sharding


@dataclass(frozen=True)
class World:
    """rank: this process among `size`; local_rank: its number on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """The device of this process: on CUDA the one with its local number, unless one was named."""
        if self.size > 1 and str(device) == "cuda":
            return torch.device("cuda", self.local_rank % torch.cuda.device_count())
        return device

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process. All processes have to ask, at the same step: they then act alike.

        A signal reaches the processes at different steps. One that left its loop alone would leave the others waiting
        in their next reduction of gradients.
        """
        return bool(self._reduced([float(flag)], distributed.ReduceOp.MAX)[0]) if self.size > 1 else flag

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Each value averaged over the processes, which give the same keys."""
        if self.size == 1:
            return values
        sums = self._reduced(list(values.values()), distributed.ReduceOp.SUM)
        return {key: value / self.size for key, value in zip(values, sums, strict=True)}

    def barrier(self) -> None:
        """Waits for all processes: after the main one has written what the others will read."""
        if self.size > 1:
            distributed.barrier()

    def _reduced(self, values: list[float], how: distributed.ReduceOp.RedOpType) -> list[float]:
        cuda = distributed.get_backend() == "nccl"
        device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(tensor, how)
        return tensor.tolist()


def parallelise(module: nn.Module, world: World, device: torch.device, shard: bool, frozen: nn.Module) -> nn.Module:
    """What to call in place of `module`, so that gradients are averaged over the processes.

    With `shard` the module itself, its weights sharded but for those of `frozen`, a part of it; otherwise a wrapper, or
    the module where there is one process.
    """
    if world.size == 1:
        return module
    if shard:
        sharding.shard(module, device, world.size, frozen)
        return module
    return DistributedDataParallel(module)


def averaging(module: nn.Module, now: bool) -> AbstractContextManager[None]:
    """A pass of a parallelised module whose gradients are averaged, or added up in each process until a later pass."""
    # the wrapper decides in its forward pass whether the next backward pass reduces: both lie in this context
    if isinstance(module, DistributedDataParallel):
        return nullcontext() if now else cast(AbstractContextManager[None], module.no_sync())
    if hasattr(module, "set_requires_gradient_sync"):
        cast(Any, module).set_requires_gradient_sync(now)
    return nullcontext()


def is_main_process() -> bool:
    """Whether this process, of those that torchrun started, is the one that prints; before they have joined."""
    return os.environ.get("RANK", "0") == "0"


def join(device: torch.device) -> World:
    """Joins the processes that torchrun started, over NCCL on CUDA and gloo elsewhere; one process without torchrun.

    Raises `InputError` when torchrun's variables are incomplete.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    try:
        world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    except KeyError as error:
        raise InputError(
            f"WORLD_SIZE={size} is set but {error} is not: start several processes by torchrun."
        ) from error
    if device.type == "cuda":  # before the group exists: NCCL binds each process to its present device
        torch.cuda.set_device(world.device(device))
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return world
