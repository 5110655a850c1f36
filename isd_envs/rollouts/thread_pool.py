"""A pool of threads, for engines that release the interpreter lock."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from isd_envs.engines.slot import EnvSlot
from isd_envs.rollouts.pool import HANG_SECONDS, Lost, perform
from isd_envs.spec import Spec


class ThreadPool:
    """Threads of this process; they run in parallel as far as engines release the interpreter lock."""

    def __init__(self, spec: Spec, slots: int, workers: int, hang_seconds: float = HANG_SECONDS) -> None:
        self.slots, self.spec, self.hang_seconds = slots, spec, hang_seconds
        self.env_slots = [EnvSlot(spec) for _ in range(slots)]
        self._jobs: queue.SimpleQueue[tuple[int, int, EnvSlot, str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, int, Any]] = queue.SimpleQueue()
        # A ticket numbers a job. A thread that was given up may still finish its old job one day: its result then has
        # a ticket that no slot waits for any more, and `collect` drops it.
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
            ticket, slot, env_slot, method, arguments = job
            self._began[ticket] = time.monotonic()
            self._results.put((ticket, slot, perform(env_slot, method, arguments)))
            if self._began.pop(ticket, None) is None:
                return  # given up in the meantime: a new thread serves in this one's place

    def submit(self, slot: int, method: str, *arguments: Any) -> None:
        self._ticket += 1
        self._pending[slot] = self._ticket
        self._jobs.put((self._ticket, slot, self.env_slots[slot], method, arguments))

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
        """Gives up threads whose job takes too long.

        A thread cannot be ended, so it is left behind with its environment; `_serve` ends it if it ever comes back.
        """
        lost: list[tuple[int, Any]] = []
        for slot, ticket in list(self._pending.items()):
            began = self._began.get(ticket)
            if began is not None and time.monotonic() - began > self.hang_seconds:
                self._began.pop(ticket, None)
                del self._pending[slot]
                self.env_slots[slot] = EnvSlot(self.spec)
                self._threads.append(self._thread())
                lost.append((slot, Lost(f"a simulation thread hung for more than {self.hang_seconds:.0f} s")))
        return lost

    def close(self) -> None:
        """Lets the threads end; where one serves all, it closes the environments first, since they may be its own."""
        if len(self._threads) == 1:
            for env_slot in self.env_slots:
                self._jobs.put((0, -1, env_slot, "close", ()))
        for _ in self._threads:
            self._jobs.put(None)
