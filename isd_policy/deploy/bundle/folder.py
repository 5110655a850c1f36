"""The bundle: one folder that holds a policy and says what it needs and what it does.

    policy.isd/
        bundle.json  weights.safetensors

`bundle.json` is the card (see `isd_policy.deploy.bundle.card`) with the SHA-256 of the weights and of itself. Nothing
here imports more than torch, NumPy and safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from isd_core.support.errors import InputError
from isd_core.training.checkpoint import Checkpoint, save_tensors
from isd_policy.deploy.manifest import Manifest

MANIFEST = Manifest(
    file="bundle.json",
    kind="bundle",
    version=2,
    keys=("kind", "config", "step", "seed", "weights", "nfe", "initial_noise", "horizons", "observations", "actions"),
    maker="isd_policy.deploy.bundle",
)
WEIGHTS = "weights"


@dataclass(frozen=True)
class Bundle(Checkpoint):
    """A policy's folder and its card (`meta`). It is read like a checkpoint, with one kind of weights."""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The weights, which must be of the kind `name`; checked against the recorded hash, `InputError` if damaged."""
        if name != self.meta["weights"]:
            raise InputError(f"{self.path} holds the weights `{self.meta['weights']}` alone, not `{name}`.")
        return super().tensors(WEIGHTS)


def write(folder: Path, card: Mapping[str, Any], state: Mapping[str, Tensor]) -> Path:
    """Writes a bundle, whole or not at all. Raises `InputError` when there is something at `folder` already."""

    def fill(place: Path) -> dict[str, Any]:
        save_tensors(state, place / f"{WEIGHTS}.safetensors")
        return {}

    return MANIFEST.write(folder, card, fill)


def read(path: str | Path) -> Bundle:
    """Opens a bundle. Raises `InputError` when there is none, when it is damaged, and for another format."""
    return Bundle(*MANIFEST.read(path))
