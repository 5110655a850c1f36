"""Pictures of demonstrations that stay on disk, and the choice between memory and disk."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from isd_core.support.errors import InputError

MEMORY_SHARE = 0.5
"""The part of the free memory that pictures may take with `dataset.pictures=auto`."""
PLACES = ("auto", "memory", "disk")

Read = Callable[[int, int], np.ndarray]
"""Rows [first, end) of one key, which lie in one episode."""


class RowsOnDisk:
    """Rows that are read when they are asked for, each window in one piece. shape: [N, H, W, C]."""

    def __init__(self, read: Read, shape: tuple[int, ...]) -> None:
        self._read, self.shape = read, shape

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """rows: [B, To] integers; a window's rows lie in one episode and do not fall."""
        out = np.empty((*rows.shape, *self.shape[1:]), np.uint8)
        for place, window in enumerate(rows.tolist()):
            values = self._read(window[0], window[-1] + 1)
            out[place] = values[np.array(window) - window[0]]
        return out


def fits_in_memory(size: int, place: str) -> bool:
    """Whether pictures of `size` bytes are to be held in memory, by the option `dataset.pictures`.

    Raises `InputError` for an unknown option.
    """
    if place not in PLACES:
        raise InputError(f"dataset.pictures={place} is unknown; known: {', '.join(PLACES)}.")
    return place == "memory" or (place == "auto" and size <= MEMORY_SHARE * free_memory())


def free_memory() -> float:
    """Bytes that this machine can still give; without bound where the system does not say."""
    try:
        with open("/proc/meminfo") as file:
            found = {line.split(":")[0]: line.split()[1] for line in file}
        return 1024.0 * int(found["MemAvailable"])
    except (OSError, KeyError):
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
