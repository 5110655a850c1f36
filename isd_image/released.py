"""Facts about the checkpoints that the authors of iSD released: the names of their tensors, and their clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from isd_core.derivatives import Derivative
from isd_core.network import Cond, VelocityNet
from isd_core.support.errors import InputError
from isd_core.support.fields import Positive
from isd_core.support.registry import register
from isd_image.networks import InContext, TiT

POSITIONS_TOLERANCE = 1e-3
SHARED = {
    r"x_embedder\.proj": "patches.project",
    r"y_embedder\.embedding_table": "label.table",
    r"blocks\.(\d+)\.attn\.qkv": r"blocks.\1.attention.qkv",
    r"blocks\.(\d+)\.attn\.proj": r"blocks.\1.attention.project",
    r"blocks\.(\d+)\.mlp\.w12": r"blocks.\1.feed_forward.up",
    r"blocks\.(\d+)\.mlp\.w3": r"blocks.\1.feed_forward.down",
    r"blocks\.(\d+)\.adaLN_modulation\.1": r"blocks.\1.modulation.linear",
    r"final_layer\.linear": "head",
    r"final_layer\.adaLN_modulation\.1": "modulation.linear",
}
TIT = SHARED | {
    r"t_embedder\.mlp\.(\d)": r"time.mlps.0.\1",
    r"s_embedder\.mlp\.(\d)": r"time.mlps.1.\1",
}
IN_CONTEXT = SHARED | {
    r"(t|s|omega|t_min|t_max)_embedder\.mlp\.(\d)": r"scalars.\1.mlps.0.\2",
    r"blocks\.(\d+)\.(norm[12])": r"blocks.\1.\2",
    r"blocks\.(\d+)\.attn\.([qk]_norm)": r"blocks.\1.attention.\2",
    r"final_layer\.norm_final": "norm",
}
CONTEXT_PLACES = {"pos_cls": "label_places", "pos_aux": "other_places"}


def convert(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """A released state dict in our names, for a `TiT` or `InContext` network of the same size.

    Fixed positions are compared with ours, not taken over. Raises `InputError` for a tensor without a counterpart, a
    missing one, another shape, or other positions.
    """
    if not isinstance(network, TiT | InContext):
        raise InputError(
            f"Released weights belong to a tit_* or in_context_* network, not to {type(network).__name__}."
        )
    rules = TIT if isinstance(network, TiT) else IN_CONTEXT
    ours = network.state_dict()
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        if _is_fixed(key, value, network):
            continue
        name = _translate(key, rules)
        if name not in ours:
            raise InputError(
                f"The released checkpoint's `{key}` has no counterpart in network {type(network).__name__}."
            )
        tensor = value[0] if key in CONTEXT_PLACES else value
        if tensor.shape != ours[name].shape:
            raise InputError(
                f"The released checkpoint's `{key}` has shape {list(tensor.shape)}, the network's `{name}` has "
                f"{list(ours[name].shape)}: choose the network (and data sizes) of the same size."
            )
        converted[name] = tensor.float()
    if missing := sorted(ours.keys() - converted.keys()):
        raise InputError(f"The released checkpoint lacks {len(missing)} of the network's tensors, e.g. `{missing[0]}`.")
    return converted


def _translate(key: str, rules: Mapping[str, str]) -> str:
    if key in CONTEXT_PLACES:
        return CONTEXT_PLACES[key]
    stem, _, kind = key.rpartition(".")
    for pattern, replacement in rules.items():
        if match := re.fullmatch(pattern, stem):
            return f"{match.expand(replacement)}.{kind}"
    return key


def _is_fixed(key: str, value: Tensor, network: TiT | InContext) -> bool:
    """Whether the tensor is a table of positions; raises `InputError` where it is not the one that we compute."""
    tables = {
        "pos_embed": network.positions[None],
        "feat_rope.freqs_cos": network.rotary.cos,
        "feat_rope.freqs_sin": network.rotary.sin,
    }
    if key not in tables:
        return False
    table = tables[key]
    if value.shape != table.shape or (value.float() - table).abs().max() > POSITIONS_TOLERANCE:
        raise InputError(
            f"The released checkpoint's `{key}` {list(value.shape)} is not the table {list(table.shape)} that this "
            "network computes, so its weights would be misread."
        )
    return True


def weights_of(checkpoint: Any, name: str, source: str) -> dict[str, Tensor]:
    """One group of weights ("ema" or "model") of a released checkpoint; `InputError` where there is none."""
    if not isinstance(checkpoint, Mapping) or name not in checkpoint:
        found = ", ".join(map(str, checkpoint)) if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        raise InputError(f"{source} is no released checkpoint: expected a dict with `model` and `ema`, found {found}.")
    group = checkpoint[name]
    return {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in group.items()}


@register("derivative", "released_clock", head="image")
@dataclass(frozen=True)
class MixedClock(Derivative):
    """The derivative as the released trigonometric code takes it: dF = (dF/dx) v + rate dF/dt with rate = T.

    That code differentiates along (v, 1) with time in [0, 1] while v is per radian. On unit Gaussian data its fixed
    point has a one-step standard deviation of 0.72 instead of 1. For continuing a released checkpoint as it was begun.
    """

    inner: Derivative
    rate: Positive

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
        """As `Derivative.along`, with the rates of both times multiplied."""
        return self.inner.along(net, x, t, s, cond, dx=dx, dt=self.rate * dt, ds=self.rate * ds, unit=unit, graph=graph)
