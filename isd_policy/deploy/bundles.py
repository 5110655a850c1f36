"""The bundle: one folder that holds a policy and says what it needs and what it does.

    policy.isd/
        bundle.json  weights.safetensors

`bundle.json` is the card (see `isd_policy.deploy.card`) with the SHA-256 of the weights and of itself. Nothing here
imports more than torch, NumPy and safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from isd_core.support.errors import InputError
from isd_core.training.checkpoint import Checkpoint
from isd_policy.deploy import sealed

FORMAT = 2
CARD = "bundle.json"
WEIGHTS = "weights"
KEYS = ("kind", "config", "step", "seed", "weights", "nfe", "initial_noise", "horizons", "observations", "actions")


@dataclass(frozen=True)
class Bundle(Checkpoint):
    """A policy's folder and its card (`meta`). It is read like a checkpoint, with one kind of weights."""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The weights, which must be of the kind `name`; checked against the recorded hash, `InputError` if damaged."""
        if name != self.meta["weights"]:
            raise InputError(f"{self.path} holds the weights `{self.meta['weights']}` alone, not `{name}`.")
        return super().tensors(WEIGHTS)


def find(path: str | Path) -> Path | None:
    """The bundle that `path` stands for, itself or a file in it; None when there is none."""
    path = Path(path)
    folder = path.parent if path.is_file() else path
    return folder if (folder / CARD).is_file() else None


def write(folder: Path, card: Mapping[str, Any], state: Mapping[str, Tensor]) -> Path:
    """Writes a bundle, whole or not at all. Raises `InputError` when there is something at `folder` already."""

    def fill(place: Path) -> dict[str, Any]:
        tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        save_file(tensors, place / f"{WEIGHTS}.safetensors")
        return {}

    return sealed.write(folder, CARD, {"format": FORMAT, **card}, fill)


def read(path: str | Path) -> Bundle:
    """Opens a bundle. Raises `InputError` when there is none, when it is damaged, and for another format."""
    folder = find(path)
    if folder is None:
        raise InputError(
            f"There is no bundle at {path}: expected a folder with {CARD}. isd_policy.deploy.bundle makes one."
        )
    return Bundle(folder, sealed.read(folder, CARD, FORMAT, "bundle", KEYS))
