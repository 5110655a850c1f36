"""Places for live episodes, served by threads (compiled engine) or processes (every other engine, and pictures).

A pool has `slots` seats. A job is a method of `Seat`; one job at a time per slot; results come in any order. A worker
that dies or hangs is replaced: every slot that it served reports a `Lost`, and its episode has to begin again.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from envs.engines.slot import Seat
from envs.spec import Spec
from isd_core.support.errors import InputError

ATTEMPTS = 3
"""How often an episode or job may lose its worker before the work is given up."""
HANG_SECONDS = 300.0
"""A job that takes longer is taken for hung; building an engine and compiling it take less."""


@dataclass(frozen=True)
class Lost:
    """The worker of this slot is gone (`reason` says how), and with it the episode in the slot."""

    reason: str


@dataclass(frozen=True)
class Raised:
    """The job raised. `user` tells whether it was an `InputError`."""

    message: str
    user: bool

    def reraise(self) -> None:
        """Raises the error in this process."""
        if self.user:
            raise InputError(self.message)
        raise RuntimeError(f"a simulation worker failed:\n{self.message}")


class Pool(Protocol):
    """Executes jobs in slots."""

    slots: int

    def submit(self, slot: int, method: str, *arguments: Any) -> None:
        """Queues `Seat.method(*arguments)` in a slot."""

    def collect(self) -> list[tuple[int, Any]]:
        """Waits for results: (slot, what the job returned | Lost | Raised), at least one while jobs are under way."""

    def close(self) -> None:
        """Ends the workers."""


class ThreadPool:
    """Threads of this process; they run in parallel as far as engines release the interpreter lock."""

    def __init__(self, spec: Spec, slots: int, workers: int, hang_seconds: float = HANG_SECONDS) -> None:
        self.slots, self.spec, self.hang_seconds = slots, spec, hang_seconds
        self.seats = [Seat(spec) for _ in range(slots)]
        self._jobs: queue.SimpleQueue[tuple[int, int, Seat, str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, int, Any]] = queue.SimpleQueue()
        self._ticket = 0
        self._pending: dict[int, int] = {}
        self._began: dict[int, float] = {}
        self._threads = [self._thread() for _ in range(max(1, workers))]

    def _thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._serve, daemon=True, name="simulation")
        thread.start()
        return thread

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            ticket, slot, seat, method, arguments = job
            self._began[ticket] = time.monotonic()
            self._results.put((ticket, slot, perform(seat, method, arguments)))
            if self._began.pop(ticket, None) is None:
                return

    def submit(self, slot: int, method: str, *arguments: Any) -> None:
        self._ticket += 1
        self._pending[slot] = self._ticket
        self._jobs.put((self._ticket, slot, self.seats[slot], method, arguments))

    def collect(self) -> list[tuple[int, Any]]:
        done: list[tuple[int, Any]] = []
        while self._pending and not done:
            try:
                ticket, slot, result = self._results.get(timeout=min(1.0, self.hang_seconds))
            except queue.Empty:
                done += self._replace_hung()
                continue
            if self._pending.get(slot) == ticket:
                del self._pending[slot]
                done.append((slot, result))
        return done

    def _replace_hung(self) -> list[tuple[int, Any]]:
        """Gives up threads whose job takes too long: a thread cannot be ended, so it is left behind with its seat."""
        lost: list[tuple[int, Any]] = []
        for slot, ticket in list(self._pending.items()):
            began = self._began.get(ticket)
            if began is not None and time.monotonic() - began > self.hang_seconds:
                self._began.pop(ticket, None)
                del self._pending[slot]
                self.seats[slot] = Seat(self.spec)
                self._threads.append(self._thread())
                lost.append((slot, Lost(f"a simulation thread hung for more than {self.hang_seconds:.0f} s")))
        return lost

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)


def perform(seat: Seat, method: str, arguments: tuple[Any, ...]) -> Any:
    """The job's result, or `Raised`."""
    try:
        return getattr(seat, method)(*arguments)
    except InputError as error:
        return Raised(str(error), user=True)
    except Exception:
        import traceback

        return Raised(traceback.format_exc(), user=False)


class ProcessPool:
    """Worker processes; each serves several slots in turn.

    They start from `python -m envs.rollouts.worker`, so the caller's main module is neither imported again nor needs a
    guard, and they ignore Ctrl-C until the pool ends them.
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
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "envs.rollouts.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.pending: set[int] = set()
        self.heard = time.monotonic()
        self._send(spec.to_dict())

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # where the process has died, the next `collect` replaces it
            self.connection.send(message)

    def submit(self, slot: int, method: str, arguments: tuple[Any, ...]) -> None:
        if not self.pending:
            self.heard = time.monotonic()
        self.pending.add(slot)
        self._send((slot, method, arguments))

    def close(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


RUNNERS = ("local", "ray")


def make_pool(spec: Spec, slots: int, workers: int, hang_seconds: float = HANG_SECONDS, runner: str = "local") -> Pool:
    """Threads for the compiled engine, processes for everything else, or actors of a Ray cluster.

    Pictures are drawn in processes too: a graphics context belongs to one thread. `spec.engine` must be the resolved
    one (see `envs.engines.engine.resolve`). Raises `InputError` for another runner.
    """
    if runner not in RUNNERS:
        raise InputError(f"runner={runner}: expected one of {', '.join(RUNNERS)}.")
    if runner == "ray":
        from envs.rollouts.ray_pool import RayPool

        return RayPool(spec, slots, workers, hang_seconds)
    kind = ThreadPool if spec.engine == "compiled" and not spec.picture_cameras else ProcessPool
    return kind(spec, slots, workers, hang_seconds)
