"""The bundle: one folder that holds a policy and says what it needs and what it does.

    policy.isd/
        bundle.json  weights.safetensors

`bundle.json` is the card (see `isd_policy.deploy.card`) with the SHA-256 of the weights and of itself. Nothing here
imports more than torch, NumPy and safetensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from isd_core.checkpoint import Checkpoint
from isd_core.errors import InputError
from isd_core.files import atomic_write, read_json, sha256

FORMAT = 1
CARD = "bundle.json"
WEIGHTS = "weights"
KEYS = ("format", "kind", "config", "step", "seed", "weights", "nfe", "start", "observations", "actions", "sha256")


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
    if folder.exists():
        raise InputError(f"{folder} exists. Give another out=, or remove it.")
    with atomic_write(folder) as temporary:
        temporary.mkdir(parents=True)
        file = temporary / f"{WEIGHTS}.safetensors"
        save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, file)
        hashes = {file.name: sha256(file)}
        (temporary / CARD).write_text(_sealed({"format": FORMAT, **card, "sha256": hashes}))
    return folder


def read(path: str | Path) -> Bundle:
    """Opens a bundle. Raises `InputError` when there is none, when it is damaged, and for another format."""
    folder = find(path)
    if folder is None:
        raise InputError(f"There is no bundle at {path}: expected a folder with {CARD}.")
    card = read_json(folder / CARD)
    if not isinstance(card, dict) or "format" not in card:
        raise InputError(f"{folder / CARD} is not the card of a bundle.")
    if card["format"] != FORMAT:
        raise InputError(
            f"{folder} has bundle format {card['format']}; this version reads format {FORMAT}. Update the package, or "
            "make the bundle again from its checkpoint."
        )
    if not _intact(card, (folder / CARD).read_text()):
        raise InputError(f"{folder / CARD} is damaged: it is not what was written. Copy the bundle again.")
    if absent := [key for key in KEYS if key not in card]:
        raise InputError(f"{folder / CARD} lacks `{absent[0]}`: it is not the card of a policy's bundle.")
    return Bundle(folder, card)


def _intact(card: Mapping[str, Any], text: str) -> bool:
    try:
        hashes = {name: value for name, value in card["sha256"].items() if name != CARD}
        return text == _sealed({**card, "sha256": hashes})
    except (KeyError, AttributeError, ValueError):  # what a changed byte makes of the card need not be a card
        return False


def _sealed(card: Mapping[str, Any]) -> str:
    """The card's text with its own hash: the SHA-256 of the same text without it."""
    hashes = {CARD: hashlib.sha256(_text(card).encode()).hexdigest(), **card["sha256"]}
    return _text({**card, "sha256": hashes})


def _text(card: Mapping[str, Any]) -> str:
    return json.dumps(card, indent=2, allow_nan=False) + "\n"
