"""The shards of a cache are compared with their SHA-256 before they are trained on: once, not at every start.

<cache>/verified.json remembers which file, of which size and time, had which hash.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.progress import Progress
from isd_image.data.shards import INDEX, shard_path

MEMORY = "verified.json"
LOCK = ".verified.lock"
THREADS = 4


def check_shards(root: Path, shards: Sequence[Mapping[str, Any]]) -> None:
    """Compares each shard with the hash that the index has of it, unless that was done since it last changed.

    Raises `InputError` that names a shard which is lost or is no longer what was written.
    """
    with _alone(root) as writable:
        known = _known(root)
        todo = [shard for shard in shards if _state(root, shard) != known.get(shard_path(root, shard["number"]).name)]
        if not todo:
            return
        size = sum(shard_path(root, shard["number"]).stat().st_size for shard in todo)
        quiet = size < 1e9
        with ThreadPoolExecutor(THREADS) as threads, Progress(len(todo), f"check {root}", "shard", quiet=quiet) as bar:
            paths = [shard_path(root, shard["number"]) for shard in todo]
            for shard, path, found in zip(todo, paths, threads.map(files.sha256, paths), strict=True):
                if found != shard["sha256"]:
                    raise InputError(
                        f"{path} is damaged: its SHA-256 is not the one in {INDEX}. Delete the shard and {INDEX}, and "
                        "run the cache command again."
                    )
                bar.update()
        states = {shard_path(root, shard["number"]).name: _state(root, shard) for shard in shards}
        if writable:
            files.write_json(root / MEMORY, states)
        else:
            print(f"{root} is read-only: its shards are compared with their hashes at every start.", file=sys.stderr)


def _state(root: Path, shard: Mapping[str, Any]) -> dict[str, Any]:
    path = shard_path(root, shard["number"])
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): run the cache command again.") from error
    return {"size": status.st_size, "time_ns": status.st_mtime_ns, "sha256": shard["sha256"]}


def _known(root: Path) -> dict[str, Any]:
    """What was remembered; nothing where that cannot be read, so that all is compared again."""
    try:
        found = files.read_json(root / MEMORY)
    except (InputError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """One process at a time, so that those of one training do not all read the cache; whether it can be written."""
    try:
        lock = (root / LOCK).open("w")
    except OSError:
        yield False
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield True
