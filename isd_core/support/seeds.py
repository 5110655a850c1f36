"""Random streams keyed by (seed, purpose, index): two purposes never share a stream, whatever the seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *index: int) -> int:
    """A 63-bit seed for one stream, e.g. `derive(7, "evaluation", 12)`."""
    key = ":".join([str(int(seed)), purpose, *(str(int(i)) for i in index)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1


def numpy_rng(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """The stream of (seed, purpose, index) as a NumPy generator."""
    return np.random.default_rng(derive(seed, purpose, *index))


def torch_rng(seed: int, purpose: str, *index: int, device: str | torch.device = "cpu") -> torch.Generator:
    """The stream of (seed, purpose, index) as a torch generator on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, purpose, *index))


@contextmanager
def forked(seed: int | None = None, device: torch.device | None = None) -> Iterator[None]:
    """For what draws from torch's global generators, such as dropout and fresh weights: they are put back afterwards.

    Inside, those of the CPU and of `device` (default: torch's own default device) start at `seed`, or go on where they
    are if it is None. They belong to the process: threads that draw from them at the same time disturb each other.
    """
    import torch

    device = torch.get_default_device() if device is None else device
    gpus = [device] if device.type == "cuda" else []
    metal = torch.mps.get_rng_state() if device.type == "mps" else None  # which fork_rng does not know
    try:
        with torch.random.fork_rng(devices=gpus):
            if seed is not None:
                torch.random.default_generator.manual_seed(seed)
                for gpu in gpus:  # and no other one: `torch.manual_seed` would reseed all of them
                    with torch.cuda.device(gpu):
                        torch.cuda.manual_seed(seed)
                if metal is not None:
                    torch.mps.manual_seed(seed)
            yield
    finally:
        if metal is not None:
            torch.mps.set_rng_state(metal)
