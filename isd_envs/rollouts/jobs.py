"""Independent jobs over a pool's workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from isd_envs.engines.factory import resolve
from isd_envs.notes import say
from isd_envs.rollouts.pool import ATTEMPTS, Lost, Raised
from isd_envs.rollouts.runners import make_pool
from isd_envs.spec import Spec

Job = tuple[int, tuple[Any, ...]]
"""A number and the arguments of a method of `EnvSlot`."""


def run_jobs(
    spec: Spec, method: str, next_job: Callable[[], Job | None], workers: int, runner: str = "local"
) -> Iterator[tuple[int, Any]]:
    """(number, `EnvSlot.method(*arguments)`) of jobs, as they are done.

    next_job: asked whenever a worker is idle; None where there is nothing to do at the moment. It ends when nothing is
    to do and nothing runs. A worker that dies or hangs is replaced and its job begins again; an error of a job is
    raised here.
    """
    pool = make_pool(resolve(spec), slots=max(1, workers), workers=workers, runner=runner)
    running: dict[int, Job] = {}
    losses: Counter[int] = Counter()
    again: list[Job] = []
    try:
        while True:
            for slot in set(range(pool.slots)) - set(running):
                job = again.pop() if again else next_job()
                if job is None:
                    break
                running[slot] = job
                pool.submit(slot, method, *job[1])
            if not running:
                return
            for slot, outcome in pool.collect():
                number, arguments = running.pop(slot)
                if isinstance(outcome, Raised):
                    outcome.reraise()
                elif isinstance(outcome, Lost):
                    losses[number] += 1
                    if losses[number] >= ATTEMPTS:
                        raise RuntimeError(f"job {number} lost its worker {ATTEMPTS} times; {outcome.reason}")
                    say(f"Note: {outcome.reason}; it was replaced and job {number} begins again.")
                    again.append((number, arguments))
                else:
                    yield number, outcome
    finally:
        pool.close()


def in_turn(jobs: Sequence[tuple[Any, ...]]) -> Callable[[], Job | None]:
    """A list of arguments as `next_job`: each once, numbered."""
    numbered = iter(enumerate(jobs))
    return lambda: next(numbered, None)
