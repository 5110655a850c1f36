"""Independent jobs over a pool's workers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from envs.engine import resolve, say
from envs.pools import ATTEMPTS, Lost, Raised, make_pool
from envs.spec import Spec


def run_jobs(
    spec: Spec, method: str, jobs: Sequence[tuple[Any, ...]], workers: int, runner: str = "local"
) -> Iterator[tuple[int, Any]]:
    """(number of the job, `Seat.method(*job)`) for all jobs, as they are done.

    A worker that dies or hangs is replaced and its job begins again; an error of a job is raised here.
    """
    spec = resolve(spec)
    pool = make_pool(spec, slots=max(1, min(workers, len(jobs))), workers=workers, runner=runner)
    waiting, running, losses = deque(range(len(jobs))), dict[int, int](), Counter[int]()
    try:
        while waiting or running:
            for slot in set(range(pool.slots)) - set(running):
                if waiting:
                    running[slot] = waiting.popleft()
                    pool.submit(slot, method, *jobs[running[slot]])
            for slot, outcome in pool.collect():
                number = running.pop(slot)
                if isinstance(outcome, Raised):
                    outcome.reraise()
                elif isinstance(outcome, Lost):
                    losses[number] += 1
                    if losses[number] >= ATTEMPTS:
                        raise RuntimeError(f"job {number} lost its worker {ATTEMPTS} times; {outcome.reason}")
                    say(f"Note: {outcome.reason}; it was replaced and its job begins again.")
                    waiting.appendleft(number)
                else:
                    yield number, outcome
    finally:
        pool.close()
