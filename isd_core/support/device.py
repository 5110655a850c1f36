"""The device that a name stands for."""

from __future__ import annotations

import torch

from isd_core.support.errors import InputError


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA, else the CPU; anything else is a torch device. Raises `InputError` if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"device={name} cannot be used here: {first} Use auto, cpu or cuda.") from error
    return device
