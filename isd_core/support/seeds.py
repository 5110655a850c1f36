"""Random streams keyed by (seed, purpose, index): two purposes never share a stream, whatever the seeds."""

from __future__ import annotations

import hashlib
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
