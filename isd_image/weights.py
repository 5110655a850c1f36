"""Files of weights that others wrote."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from isd_core.support.errors import InputError


def read_weights(path: Path, what: str) -> Any:
    """The tensors of a .safetensors file, or the tensors and plain containers of torch's format; no code in it is run.

    what: the owner of the weights, for messages. Raises `InputError` for a file that is absent or holds anything else,
    and for weights that are NaN or infinite.
    """
    if not path.is_file():
        raise InputError(f"The weights of {what} are missing: {path} is no file.")
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The weights of {what} cannot be read from {path}: it is damaged, of another format, or holds more than "
            "plain tensors. Get the file again, or keep its dicts of tensors alone with torch.save in the environment "
            "that wrote it."
        ) from error
    check_finite(found, f"{path} ({what})")
    return found


def check_finite(found: Any, what: str, name: str = "") -> None:
    """Raises `InputError`, with the name of the tensor, when a tensor in nested containers is not finite."""
    if isinstance(found, torch.Tensor):
        if found.is_floating_point() and not bool(torch.isfinite(found).all()):
            raise InputError(f"The weights of {what} are unusable: {name} holds NaN or infinity. Get the file again.")
    elif isinstance(found, Mapping):
        for key, value in found.items():
            check_finite(value, what, f"{name}.{key}".lstrip("."))
    elif isinstance(found, list | tuple):
        for i, value in enumerate(found):
            check_finite(value, what, f"{name}[{i}]")
