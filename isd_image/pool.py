"""Numbered tasks over several processes, each with its own worker and, where there are some, its own GPU."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import torch

from isd_core.support.device import pick_device
from isd_core.support.errors import InputError
from isd_core.support.processes import end_with_parent

T = TypeVar("T")
Worker = Callable[[int], T]

_worker: Worker[Any] | None = None


def _start(make: Callable[[str], Worker[Any]], device: str, counter: Any, parent: int) -> None:
    global _worker
    end_with_parent(parent)  # a killed parent leaves no workers behind
    with counter.get_lock():
        rank = counter.value
        counter.value += 1
    if device in ("auto", "cuda") and pick_device(device).type == "cuda":
        device = f"cuda:{rank % torch.cuda.device_count()}"
    torch.set_num_threads(1)
    _worker = make(device)


def _work(task: int) -> Any:
    assert _worker is not None
    return _worker(task)


def ordered(make: Callable[[str], Worker[T]], tasks: Sequence[int], processes: int, device: str) -> Iterator[T]:
    """`worker(task)` for each task, in their order; `make(device)` builds a worker in each process.

    `make` must be picklable when there are several processes. Raises `InputError` for fewer than one.
    """
    if processes < 1:
        raise InputError(f"processes={processes}: expected at least 1.")
    if processes == 1 or len(tasks) < 2:
        worker = make(device) if tasks else None
        for task in tasks:
            assert worker is not None
            yield worker(task)
        return
    context = multiprocessing.get_context("spawn")
    counter = context.Value("i", 0)
    arguments = make, device, counter, os.getpid()
    with ProcessPoolExecutor(min(processes, len(tasks)), context, _start, arguments) as pool:
        yield from pool.map(_work, tasks)
