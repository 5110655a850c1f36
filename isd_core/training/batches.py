"""From a data set to the batches of a training: their order, their gathering ahead, their device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class Movable(Protocol):
    """A data set that can be held in a device's memory."""

    def to(self, device: torch.device) -> Dataset:
        """The same data there, gathered there; its batches are those of the original. Raises `InputError` where parts
        of it are read from disk."""
        ...


def held_on(dataset: Dataset, device: torch.device) -> Dataset:
    """A data set in the memory of a device. Raises `InputError` for one that cannot be there or does not fit."""
    if not isinstance(dataset, Movable):
        raise InputError(
            f"trainer.data_on_device=true: {type(dataset).__name__} reads its batches where they lie; it has no `to`. "
            "Use trainer.data_on_device=false."
        )
    try:
        return dataset.to(device)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"trainer.data_on_device=true: the data set does not fit in the memory of {device}. Use "
            "trainer.data_on_device=false."
        ) from error


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


class PlainCopy:
    """Batches as they are gathered, copied to the device where they are taken."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def stage(self, gather: Callable[[], Any]) -> Any:
        """A batch on its way, from any thread."""
        return gather()

    def take(self, staged: Any) -> Any:
        """The batch on the device."""
        return to_device(staged, self._device)


class CopyStream:
    """Batches copied to a CUDA device by a stream of their own, beside the steps that the device is computing."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)

    def stage(self, gather: Callable[[], Any]) -> tuple[Any, torch.cuda.Event]:
        """A batch on its way, with the event that ends its copies. A batch on the device already is gathered there."""
        with torch.cuda.stream(self._stream):
            batch = _mapped(gather(), self._copied)
            return batch, self._stream.record_event()

    def _copied(self, value: Tensor) -> Tensor:
        # only a copy out of pinned memory leaves the host free; its pages are kept until the copy has ended
        return value if value.device == self._device else value.pin_memory().to(self._device, non_blocking=True)

    def take(self, staged: tuple[Any, torch.cuda.Event]) -> Any:
        """The batch: the caller's stream waits for its copies, the host does not."""
        batch, copied = staged
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(copied)
        # the batch's memory belongs to the copying stream, which would give it to the next batch while this stream
        # still has to read it
        return _mapped(batch, lambda value: _used_by(value, stream))


def _used_by(value: Tensor, stream: torch.cuda.Stream) -> Tensor:
    value.record_stream(stream)
    return value


class Prefetch:
    """`batch(indices(n))` for n = 0, 1, ... on a device; while one batch is in use, a thread gathers the next.

    batch: reads from a data set; indices: of batch number n. What is returned does not depend on what was asked before.
    Both are called from the thread, and from the caller for the first batch and for one out of turn, maybe at once.
    On CUDA the thread also copies the batch to the device, by a stream of its own.
    """

    def __init__(self, batch: Callable[[Tensor], Any], indices: Callable[[int], Tensor], device: torch.device) -> None:
        self._batch, self._indices = batch, indices
        self._copies: PlainCopy | CopyStream = CopyStream(device) if device.type == "cuda" else PlainCopy(device)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._ahead: tuple[int, Future[Any]] | None = None

    def __call__(self, n: int) -> Any:
        """Batch number n. An error of the reading is raised here."""
        ahead, self._ahead = self._ahead, None
        gathered = ahead[1].result() if ahead is not None and ahead[0] == n else self._gather(self._indices(n))
        # one batch ahead and no more: the thread works while the caller's step runs, which for most of it is a wait for
        # the device or a kernel outside Python's lock; more batches would be memory for nothing
        self._ahead = n + 1, self._thread.submit(self._gather, self._indices(n + 1))
        return self._copies.take(gathered)

    def _gather(self, indices: Tensor) -> Any:
        return self._copies.stage(lambda: self._batch(indices))


def to_device(batch: Any, device: torch.device) -> Any:
    """Nested dicts of tensors, on a device."""
    return _mapped(batch, lambda value: value.to(device, non_blocking=True))


def _mapped(batch: Any, each: Callable[[Tensor], Tensor]) -> Any:
    """Nested dicts of tensors, each replaced."""
    if isinstance(batch, Mapping):
        return {key: _mapped(value, each) for key, value in batch.items()}
    return each(batch)
