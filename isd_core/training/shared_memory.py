"""Arrays that the processes of one machine hold once."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import distributed

from isd_core.training.distributed import World

MEMORY = Path("/dev/shm")

Arrays = Mapping[str, np.ndarray]


def shared(world: World, read: Callable[[], Arrays]) -> dict[str, np.ndarray]:
    """`read()` of each machine's first process, as memory that all its processes map (a page that one of them writes
    becomes its own).

    The files behind it lie in memory where the system has such a place, and are unlinked as soon as all have them. With
    one process it is `read()` itself.
    """
    if world.size == 1:
        return dict(read())
    folder = None
    if world.local_rank == 0:
        # /dev/shm is memory: the pages that all processes map are these files' own, there is no second copy
        folder = tempfile.mkdtemp(prefix="isd-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        for key, array in read().items():
            np.save(Path(folder) / f"{key}.npy", array, allow_pickle=False)
    places: list[tuple[str, str | None]] = [("", None)] * world.size
    distributed.all_gather_object(places, (socket.gethostname(), folder))
    # every process learns of every machine's folder and takes the one of its own; that all have given theirs also means
    # that the files are written
    mine = Path(next(place for host, place in places if place is not None and host == socket.gethostname()))
    arrays = {path.stem: np.load(path, mmap_mode="c", allow_pickle=False) for path in sorted(mine.glob("*.npy"))}
    world.barrier()  # all have mapped the files: what is mapped outlives its name
    if folder is not None:
        shutil.rmtree(folder)
    return arrays
