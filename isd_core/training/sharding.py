"""Sharded weights (fully sharded data parallelism), and the full tensors that files hold.

Each process keeps a shard, some of the rows, of every weight, and of its gradient, optimiser state and average; the
weights of one block at a time are gathered where a pass needs them. Without sharding, every function here is the
identity.

Sharded tensors are torch's DTensors. They are told by their methods, since importing their class takes seconds.

What puts a full tensor together (`full_tensor`, `gathered`) and what takes one apart (`sharded_like`, `load`) is a
collective: all processes have to call it, in the same order, or those that did wait for ever. So nothing here may stand
behind a test for the main process; it is the results that only that one keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn


def shard(module: nn.Module, device: torch.device, processes: int, frozen: nn.Module) -> None:
    """Shards the parameters of `module` in place, with the members of its module lists as the units of gathering.

    Its methods `forward` and `diagnose` may then be called. The weights are gathered in their own precision, because
    central differences need it. The parameters of `frozen`, a part of the module, stay as they are. To be called in
    every process of the group, on equal weights, before the optimiser is built.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (processes,))
    ignored = set(frozen.parameters())
    for unit in [*units(module, frozen), module]:
        fully_shard(unit, mesh=mesh, reshard_after_forward=True, ignored_params=ignored)
    register_fsdp_forward_method(module, "diagnose")
    if device.type == "cpu":  # gloo has a sum and no mean: without this the gradients' reduction is refused
        cast(FSDPModule, module).set_force_sum_reduction_for_comms(True)


def units(module: nn.Module, skipped: nn.Module | None = None) -> Iterator[nn.Module]:
    """The members of the outermost module lists, those of `skipped` apart: blocks of layers, in order."""
    for child in module.children():
        if child is skipped:
            continue
        if isinstance(child, nn.ModuleList):
            for member in child:
                yield from units(member) if isinstance(member, nn.ModuleList) else (member,)
        else:
            yield from units(child, skipped)


def local_shard(tensor: Tensor) -> Tensor:
    """This process's shard of a tensor, in the same memory."""
    return cast(Any, tensor).to_local() if _is_sharded(tensor) else tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """A tensor put together from its shards; every process has to take part."""
    return cast(Any, tensor).full_tensor() if _is_sharded(tensor) else tensor


def sharded_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A full tensor, equal in every process, on the device of `like` and sharded as it is."""
    if not _is_sharded(like):
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    example = cast(Any, like)
    # no source rank: every process has read the same file, so each cuts its own shard and nothing is sent
    return distribute_tensor(tensor.to(like.device), example.device_mesh, example.placements, src_data_rank=None)


def load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`module.load_state_dict` of full tensors."""
    current = module.state_dict()
    module.load_state_dict({k: sharded_like(v, current[k]) if k in current else v for k, v in state.items()})


def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Full tensors, those of shards on the CPU; empty in processes that do not `keep` them, which take part too."""
    found = {}
    # one tensor at a time, and off the GPU at once: all of them together are what sharding was to avoid
    for key, value in tensors.items():
        full = full_tensor(value)
        if keep:
            found[key] = full.cpu() if _is_sharded(value) else full
    return found


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")
