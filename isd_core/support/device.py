"""The device that a name stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
