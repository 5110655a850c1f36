"""Weights divided among the processes (fully sharded data parallelism), and the whole tensors that files hold.

Each process keeps a part of the rows of every weight, and of its gradient, optimiser state and average; the weights of
one block at a time are gathered where a pass needs them. Without sharding, every function here is the identity.

Divided tensors are torch's DTensors. They are told by their methods, since importing their class takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn


def shard(module: nn.Module, device: torch.device, processes: int) -> None:
    """Divides the parameters of `module` in place, with the members of its module lists as the units of gathering.

    Its methods `forward` and `diagnose` may then be called. The weights are gathered in their own precision, because
    central differences need it. To be called in every process of the group, on equal weights, before the optimiser is
    built.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (processes,))
    for unit in [*units(module), module]:
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(module, "diagnose")
    if device.type == "cpu":  # gloo adds up, but does not average
        cast(FSDPModule, module).set_force_sum_reduction_for_comms(True)


def units(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost module lists: blocks of layers, in order."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            for member in child:
                yield from units(member) if isinstance(member, nn.ModuleList) else (member,)
        else:
            yield from units(child)


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, in the same memory."""
    return cast(Any, tensor).to_local() if _is_divided(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from its parts; every process has to take part."""
    return cast(Any, tensor).full_tensor() if _is_divided(tensor) else tensor


def divided(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, equal in every process, on the device of `like` and divided as it is."""
    if not _is_divided(like):
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    example = cast(Any, like)
    return distribute_tensor(tensor.to(like.device), example.device_mesh, example.placements, src_data_rank=None)


def load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`module.load_state_dict` of whole tensors."""
    current = module.state_dict()
    module.load_state_dict({k: divided(v, current[k]) if k in current else v for k, v in state.items()})


def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Whole tensors, those of parts on the CPU; empty in processes that do not `keep` them, which take part too."""
    found = {}
    for key, value in tensors.items():
        full = whole(value)
        if keep:
            found[key] = full.cpu() if _is_divided(value) else full
    return found


def _is_divided(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")
