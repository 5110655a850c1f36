"""One training a folder: who writes into a run's folder holds its lock."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import IO

from isd_core.support.errors import InputError

LOCK = ".lock"


class RunLock:
    """The lock of a run's folder, taken and given back by one process; `InputError` says who else has it.

    The kernel's lock on an open file, so that it ends with the process that held it, however that ended, and there is
    never a stale one to clear. The file stays and says who took it last. It is opened as Python opens files, closed in
    programs that this one starts: an evaluation that outlives the training does not keep its lock.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / LOCK
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Takes the lock, unless this object has it."""
        if self._file is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+")  # not "w": the file is the other's to write as long as it has the lock
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read()
            file.close()
            raise InputError(
                f"{self.path.parent} is the folder of another training{_described(holder)}. Wait for it or end it, or "
                "choose another run_dir."
            ) from error
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
        file.flush()
        self._file = file

    def give_back(self) -> None:
        """Ends the lock; nothing if it was not taken."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _described(holder: str) -> str:
    try:
        who = json.loads(holder)
        return f" (process {who['pid']} on {who['host']}, since {who['since']})"
    except (ValueError, KeyError, TypeError):  # taken this very moment: not written yet
        return ""
