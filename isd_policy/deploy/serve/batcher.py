"""Where a server's policy computes: one thread, which takes the calls that wait together where that pays."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from isd_core.support.errors import InputError
from isd_policy.backend import Call, PolicyBackend, check_finite

SIZES = (1, 2, 4, 8, 16, 32)
LARGEST_BATCH = 1024
PAYS = 0.9
"""A batch pays when its time for a row is below this share of that of half the batch."""
TURNS = 5


@dataclass
class Job:
    """A call of a client and where its answer goes. Moments on the monotonic clock (s).

    `answer(actions, error)` gets the chunk [n, Da] or an exception, from the batcher's thread.
    """

    call: Call
    deadline: float
    answer: Callable[[np.ndarray | None, Exception | None], None]
    asked: float = field(default_factory=time.monotonic)
    begun: float = 0.0
    rows: int = 0


class DynamicBatcher:
    """Computes jobs in their order, up to `batch` at once; None measures how many pay.

    The server's event loop submits, a thread of its own computes: a policy's call blocks, and in the event loop it
    would hold up every client, the health page among them. The condition guards the queue alone.

    A job whose deadline has passed is answered with `TimeoutError` and not computed. Where a batch fails, its jobs are
    computed one by one, so that a client's fault stays its own. With batch 1 a client gets the same bits whoever else
    asks; in a batch the order of a product's sums follows the number of rows, and an action may differ in the last bits
    (3e-6 at most where it was measured). Raises `InputError` for a batch beyond `LARGEST_BATCH`.
    """

    def __init__(self, policy: PolicyBackend, batch: int | None = None) -> None:
        if batch is not None and batch > LARGEST_BATCH:
            raise InputError(f"batch={batch}: at most {LARGEST_BATCH} requests are computed at once.")
        self.policy = policy
        self.batch, self.row_seconds = (batch, {}) if batch is not None else best_batch(policy)
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queues a job. Never blocks."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return len(self._jobs)  # of a deque: whole without the lock

    @property
    def busy_seconds(self) -> float:
        """How long the present computation has been running; 0 when there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """Ends the thread after its present computation; a call that never returns is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5.0)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    return
                jobs = [self._jobs.popleft() for _ in range(min(self.batch, len(self._jobs)))]
            # What has waited beyond its deadline is not computed: its client is gone, and under load the time would be
            # taken from those who still wait.
            now = time.monotonic()
            late = [job for job in jobs if job.deadline <= now]
            for job in late:
                job.answer(None, TimeoutError())
            if live := [job for job in jobs if job.deadline > now]:
                self._busy_since = now
                self._compute(live)
                self._busy_since = None

    def _compute(self, jobs: list[Job]) -> None:
        begun = time.monotonic()
        for job in jobs:
            job.begun, job.rows = begun, len(jobs)
        try:
            actions = self.policy.infer(self.policy.preprocess([job.call for job in jobs]))
            chunks = dict(zip(range(len(jobs)), actions, strict=True))
        except Exception as error:  # whatever a policy raises, its client must get an answer
            if len(jobs) == 1:
                jobs[0].answer(None, error)
                return
            for job in jobs:
                self._compute([job])
            return
        for number, job in enumerate(jobs):
            try:
                job.answer(check_finite(chunks[number]), None)
            except FloatingPointError as error:  # of this row alone: the others depend on their own observations
                job.answer(None, error)


def best_batch(policy: PolicyBackend) -> tuple[int, dict[int, float]]:
    """The largest batch that pays, and the seconds of a row at each size that was tried."""
    row = {key: values[0] for key, values in policy.schema.zeros(1).items()}
    call = Call([row] * policy.horizons.observation, (0,))
    best, seconds = 1, {}
    for size in SIZES:
        inputs = policy.preprocess([call] * size)
        policy.infer(inputs)
        turns = []
        for _ in range(TURNS):
            began = time.perf_counter()
            policy.infer(inputs)
            turns.append(time.perf_counter() - began)
        seconds[size] = min(turns) / size
        if size > 1 and seconds[size] > PAYS * seconds[best]:
            break
        best = size
    return best, seconds
