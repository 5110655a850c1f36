"""The device that a name stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

from isd_core.support.errors import InputError


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA, else the CPU; anything else is a torch device, such as `mps`. Raises `InputError` if it is not
    there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"device={name} cannot be used here: {first} Use auto, cpu, cuda or mps.") from error
    return device


def on_device(values: float | Sequence[float], device: torch.device) -> Tensor:
    """Numbers as a tensor on a device, without waiting for it: `torch.tensor(..., device=)` waits for all that CUDA has
    still to do."""
    return torch.tensor(values).to(device, non_blocking=True)


def in_float64(draw: Callable[..., Tensor], n: int, rng: Generator) -> Tensor:
    """[n] numbers of `torch.rand` or `torch.randn` in float64, on the generator's device; on the CPU where the device
    (mps) has no float64, widened from float32."""
    if rng.device.type == "mps":
        return draw(n, generator=rng, device=rng.device).cpu().double()
    return draw(n, generator=rng, device=rng.device, dtype=torch.float64)


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """Inside, torch computes on the CPU with so many threads (None: as before); afterwards it is as it was.

    Raises `InputError` for less than one.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads={threads}: expected a whole number of at least 1, or null.")
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
