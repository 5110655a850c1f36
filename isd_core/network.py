"""What the core asks of a network, and how its calls are batched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from isd_core.support.errors import InputError
from isd_core.support.registry import declare_role

GIVEN = (  # what the heads know
    *("action_size", "condition_size", "horizon", "channels", "size", "classes", "clock", "prefix_time"),
)
declare_role("network", "networks", nn.Module, GIVEN)
declare_role("parametrisation", "parametrisations", nn.Module, ("net", "path"))

Cond = dict[str, Tensor]
Call = tuple[Tensor, Tensor, Tensor, Cond]

KNOWN = "known"
"""The entry of a conditioning that marks by 1 the elements of x that the network is told and does not predict, [B, ...]
broadcasting over x. Data, noise and F are 0 there, so that no term of any objective counts them."""


class VelocityNet(Protocol):
    """F(x; t, s, cond). x: [B, ...]; t, s: [B] in path time; cond: named tensors with B on their first axis."""

    def __call__(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor: ...


def stack(calls: Sequence[Call]) -> Call:
    """Several calls (x, t, s, cond) as one of all their rows."""
    xs, ts, ss, conds = zip(*calls, strict=True)
    joined = {key: torch.cat([cond[key] for cond in conds]) for key in conds[0]}
    return torch.cat(xs), torch.cat(ts), torch.cat(ss), joined


def noise_like(x: Tensor, cond: Cond, rng: Generator) -> Tensor:
    """Standard normal numbers of x's shape, 0 where `cond[KNOWN]` says that nothing is to be predicted."""
    z = torch.randn(x.shape, generator=rng, device=rng.device, dtype=x.dtype)
    return z * (1 - cond[KNOWN]) if KNOWN in cond else z


class Trainable(nn.Module):
    """What is trained: `net` is F, and `prepare` turns a batch into data in normalised units and conditioning."""

    net: nn.Module

    def prepare(self, batch: Any, rng: Generator) -> tuple[Tensor, Cond]:
        """Data [B, ...] and its conditioning; `rng` draws augmentation."""
        raise NotImplementedError


def check_weights(build: Callable[[], nn.Module], state: Mapping[str, Tensor], prefix: str, source: str) -> None:
    """Raises `InputError` unless the weights of `state` under `prefix` are those of the module that `build` makes.

    The module is built without memory first: a config from elsewhere that asks for a huge network is refused for what
    it is before anything is allocated.
    """
    with torch.device("meta"):
        wanted = {f"{prefix}{key}": value.shape for key, value in build().state_dict().items()}
    found = {key: value.shape for key, value in state.items() if key.startswith(prefix)}
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            shapes = [list(shapes[key]) if key in shapes else "absent" for shapes in (found, wanted)]
            raise InputError(
                f"The weights in {source} do not fit the network of its config: `{key}` is {shapes[0]} there, the "
                f"config's network wants {shapes[1]}."
            )
