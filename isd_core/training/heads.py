"""What training and checkpoints have to know of a head, such as policies or images: the head says it itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from isd_core.support.errors import InputError
from isd_core.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Head:
    """kind: what its checkpoints are called; network: a config's network with fresh weights.

    resumable: the fields of its config, beside those of the trainer, that may change when a run is resumed; packages:
    the distributions, beside torch and NumPy, whose versions decide its results.
    """

    kind: str
    network: Callable[[Mapping[str, Any]], nn.Module]
    resumable: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


HEADS: dict[str, Head] = {}


def declare(head: Head) -> Head:
    """Makes a head known by its kind."""
    HEADS[head.kind] = head
    return head


def head_of(saved: Checkpoint) -> Head:
    """The head that wrote a checkpoint; `InputError` when this program does not know it."""
    kind = saved.meta["kind"]
    if kind not in HEADS:
        raise InputError(
            f"{saved.path} is a checkpoint of kind `{kind}`; here only {', '.join(sorted(HEADS)) or 'none'} is known. "
            "Give a checkpoint of the same kind as this training's."
        )
    return HEADS[kind]
