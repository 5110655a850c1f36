"""Where independent pieces of work run: on this machine's cores, on a Slurm cluster (submitit), on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from isd_core.support.errors import InputError
from isd_core.support.machine import cores
from isd_core.support.processes import end_with_parent

T = TypeVar("T")
Run = Callable[[T], None]
HOURS = 24
"""The longest that a job of a cluster may take, unless SUBMITIT_TIMEOUT_MIN says otherwise."""


def launch(run: Run[T], pieces: Sequence[T], jobs: int, launcher: str, folder: Path) -> Iterator[T]:
    """Runs `run(piece)` for each piece, at most `jobs` at a time; yields each piece when it is done.

    run must be picklable and leave its result in files that this process sees. local: processes of this machine.
    submitit: Slurm jobs where there is a Slurm, processes elsewhere; SUBMITIT_<NAME> sets its parameter <name>, as
    SUBMITIT_SLURM_PARTITION does. ray: tasks of the cluster of RAY_ADDRESS, or of this machine. folder: for logs.
    Raises `InputError` for an unknown launcher and for one whose package is not installed.
    """
    if launcher not in LAUNCHERS:
        raise InputError(f"launcher {launcher} is unknown; known: {', '.join(LAUNCHERS)}.")
    yield from LAUNCHERS[launcher](run, pieces, jobs, folder)


def _local(run: Run[T], pieces: Sequence[T], jobs: int, folder: Path) -> Iterator[T]:
    """Every process has one thread for each core that the others leave it."""
    threads = max(1, cores() // jobs)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(pieces)), spawn, _start, (threads, os.getpid())) as pool:
        futures = {pool.submit(run, piece): piece for piece in pieces}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start(threads: int, parent: int) -> None:
    """In a worker: its threads, for its commands too, and an end with the parent's, so that nothing works on unseen."""
    end_with_parent(parent)
    import torch

    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)


def _submitit(run: Run[T], pieces: Sequence[T], jobs: int, folder: Path) -> Iterator[T]:
    try:
        import submitit
    except ImportError as error:
        raise InputError("The launcher submitit needs its package: pip install 'isd-flow[slurm]'.") from error
    executor = submitit.AutoExecutor(folder / "submitit")
    names = {name.removeprefix("SUBMITIT_").lower(): value for name, value in os.environ.items()}
    given = {name: value for name, value in names.items() if f"SUBMITIT_{name.upper()}" in os.environ}
    parameters: dict[str, Any] = {name: int(text) if text.isdigit() else text for name, text in given.items()}
    executor.update_parameters(**{"timeout_min": 60 * HOURS} | parameters)
    waiting, running = list(pieces), dict[Any, T]()
    while waiting or running:
        while waiting and len(running) < jobs:
            piece = waiting.pop(0)
            running[executor.submit(run, piece)] = piece
        for job in submitit.helpers.as_completed(list(running)):
            job.result()
            yield running.pop(job)
            break


def _ray(run: Run[T], pieces: Sequence[T], jobs: int, folder: Path) -> Iterator[T]:
    try:
        import ray
    except ImportError as error:
        raise InputError("The launcher ray needs its package: pip install 'isd-flow[ray]'.") from error
    started = not ray.is_initialized()
    if started:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, log_to_driver=False)
    share = max(1, int(ray.cluster_resources().get("CPU", 1)) // jobs)
    variables = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": str(share)}

    def task(piece: T) -> None:
        run(piece)

    remote = ray.remote(num_cpus=share, max_retries=2)(task).options(runtime_env={"env_vars": variables})
    try:
        pending = {remote.remote(piece): piece for piece in pieces}
        while pending:
            done, _ = ray.wait(list(pending))
            ray.get(done[0])
            yield pending.pop(done[0])
    finally:
        if started:
            ray.shutdown()


LAUNCHERS = {"local": _local, "submitit": _submitit, "ray": _ray}
