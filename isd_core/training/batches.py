"""From a data set to the batches of a training: their order, their gathering ahead, their device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from isd_core.support import seeds
from isd_core.support.errors import InputError


class Dataset(Protocol):
    """Data held ready: batches are gathered by index."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> Any:
        """Nested dicts of tensors, the chosen rows first axis; `indices` is a [B] int64 tensor.

        A thread calls it for the batch to come while the caller may ask for another: it has to bear that.
        """
        ...


class Shuffle:
    """An endless stream of indices: each epoch is a permutation keyed by (seed, epoch); batches cross epochs."""

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        if length == 0:
            raise InputError("The data set is empty: there is nothing to train on.")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self._latest = -1, np.empty(0, dtype=np.int64)

    def _permutation(self, epoch: int) -> np.ndarray:
        # two threads ask: the epoch and its order are read and replaced together, or one could be taken for the other's
        known, order = self._latest
        if epoch != known:
            order = seeds.numpy_rng(self.seed, "epoch", epoch).permutation(self.length)
            self._latest = epoch, order
        return order

    def __call__(self, step: int) -> Tensor:
        """The [batch_size] indices of `step` = 0, 1, ..."""
        parts, position, left = [], step * self.batch_size, self.batch_size
        while left:
            epoch, offset = divmod(position, self.length)
            part = self._permutation(epoch)[offset : offset + left]
            parts.append(part)
            position, left = position + len(part), left - len(part)
        return torch.from_numpy(np.concatenate(parts))


class Prefetch:
    """`batch(indices(n))` for n = 0, 1, ...; while one batch is in use, a thread gathers the next.

    batch: reads from a data set; indices: of batch number n. What is returned does not depend on what was asked before.
    Both are called from the thread, and from the caller for the first batch and for one out of turn, maybe at once.
    """

    def __init__(self, batch: Callable[[Tensor], Any], indices: Callable[[int], Tensor]) -> None:
        self._batch, self._indices = batch, indices
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._ahead: tuple[int, Future[Any]] | None = None

    def __call__(self, n: int) -> Any:
        """Batch number n. An error of the reading is raised here."""
        ahead, self._ahead = self._ahead, None
        gathered = ahead[1].result() if ahead is not None and ahead[0] == n else self._batch(self._indices(n))
        # one batch ahead and no more: the thread works while the caller's step runs, which for most of it is a wait for
        # the device or a kernel outside Python's lock; more batches would be memory for nothing
        self._ahead = n + 1, self._thread.submit(self._batch, self._indices(n + 1))
        return gathered


def to_device(batch: Any, device: torch.device) -> Any:
    """Nested dicts of tensors, on a device."""
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    return batch.to(device, non_blocking=True)
