"""A pool of processes, for engines that hold the interpreter lock, and for pictures."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from isd_envs.rollouts.pool import HANG_SECONDS, Lost
from isd_envs.rollouts.transfer import packed
from isd_envs.spec import Spec


class ProcessPool:
    """Worker processes; each serves several slots in turn.

    They start from `python -m isd_envs.rollouts.worker`, so the caller's main module is neither imported again nor
    needs a guard, and they ignore Ctrl-C until the pool ends them.
    """

    def __init__(self, spec: Spec, slots: int, workers: int, hang_seconds: float = HANG_SECONDS) -> None:
        self.slots, self.spec, self.hang_seconds = slots, spec, hang_seconds
        self._workers = [_Process(spec) for _ in range(max(1, min(workers, slots)))]

    def _worker(self, slot: int) -> int:
        return slot % len(self._workers)

    def submit(self, slot: int, method: str, *arguments: Any) -> None:
        self._workers[self._worker(slot)].submit(slot, method, arguments)

    def collect(self) -> list[tuple[int, Any]]:
        while any(worker.pending for worker in self._workers):
            connections = {worker.connection: i for i, worker in enumerate(self._workers) if worker.pending}
            ready = wait(list(connections), timeout=min(1.0, self.hang_seconds))
            done: list[tuple[int, Any]] = []
            for connection in ready:
                assert isinstance(connection, Connection)
                done += self._receive(connections[connection])
            for i, worker in enumerate(self._workers):
                if worker.pending and time.monotonic() - worker.heard > self.hang_seconds:
                    # Every slot of this worker begins again, also one whose result has just come.
                    done = [(slot, result) for slot, result in done if self._worker(slot) != i]
                    done += self._replace(i, f"a simulation process hung for more than {self.hang_seconds:.0f} s")
            if done:
                return done
        return []

    def _receive(self, index: int) -> list[tuple[int, Any]]:
        worker = self._workers[index]
        try:
            slot, result = worker.connection.recv()
        except (EOFError, OSError):
            code = worker.process.wait()
            return self._replace(index, f"a simulation process died (exit status {code})")
        worker.heard = time.monotonic()
        worker.pending.discard(slot)
        return [(slot, result)]

    def _replace(self, index: int, reason: str) -> list[tuple[int, Any]]:
        self._workers[index].close()
        self._workers[index] = _Process(self.spec)
        return [(slot, Lost(reason)) for slot in range(self.slots) if self._worker(slot) == index]

    @property
    def process_ids(self) -> list[int]:
        """The workers' process numbers."""
        return [worker.process.pid for worker in self._workers]

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


class _Process:
    """One worker process and the connection to it."""

    def __init__(self, spec: Spec) -> None:
        # A socket by its number, not multiprocessing: that would import the caller's main module again in each worker,
        # and needs a guard in it. The worker sees the end of its parent, also by kill -9, as the end of the stream.
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        # Each worker fills one core; without this NumPy's BLAS would start as many threads as there are cores in each.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "isd_envs.rollouts.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal goes to the pool alone, which keeps what is finished
        )
        theirs.close()  # held open here too, the stream would not end with the worker
        self.connection = Connection(ours.detach())
        self.pending: set[int] = set()
        self.heard = time.monotonic()
        self._send(packed(spec))

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # where the process has died, the next `collect` replaces it
            self.connection.send(message)

    def submit(self, slot: int, method: str, arguments: tuple[Any, ...]) -> None:
        if not self.pending:  # an idle worker is not heard of; its time begins with the job
            self.heard = time.monotonic()
        self.pending.add(slot)
        self._send((slot, method, arguments))

    def close(self) -> None:
        self.connection.close()
        self.process.kill()  # it may hang in C code, which no milder signal ends
        self.process.wait()
