"""Arrays that the processes of one machine hold once."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import distributed

from isd_core.training.distributed import World

MEMORY = Path("/dev/shm")
PREFIX, OWNER = "isd-", "owner"

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
        place = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
        remove_leftovers(place)
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=place)
        owner = (Path(folder) / OWNER).open("w")  # open, and so locked, until the folder is gone
        fcntl.flock(owner, fcntl.LOCK_EX)
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
        owner.close()
    return arrays


def remove_leftovers(place: Path) -> None:
    """Removes the folders whose process was killed before it could: nobody holds the lock in them any more.

    A lock and no process number, since /dev/shm may be shared by containers that number their processes apart. A folder
    younger than a minute is left: its process may be about to take the lock.
    """
    for folder in place.glob(f"{PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < 60:
                continue
            with (folder / OWNER).open("r+") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:  # in use, another user's, or removed by another run at this moment
            continue
