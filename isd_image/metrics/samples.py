"""Samples on disk: an npz in ADM's layout, or a folder of images, as `python -m isd_image.sample` writes them.

Both are read in parts. What `isd_image.sample` says of them (classes in turn, rounding, codec) comes along, so that
identical samples have the same protocol however they arrive; the hash of a file is no part of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.files import parse_json
from isd_image.data.decode import BadImageError, check_bad, decode
from isd_image.data.entries import Entries
from isd_image.data.raw import open_images
from isd_image.npz import DAMAGED, Rows

BATCH = 100
ABOUT = "samples.json"
"""Beside the images of a folder; an npz holds the same as the array `about`."""


UNKNOWN = {"labels": "unknown", "rounding": "unknown", "codec": "unknown"}
"""What is said of the samples of a stranger: the fields of every description, beside their count."""


class SampleBatch(NamedTuple):
    """images: bytes [B, C, H, W]; labels: [B] or None where they are unknown."""

    images: Tensor
    labels: Tensor | None


class Samples(ABC):
    """Samples to be read in batches.

    shape: [C, H, W] of each; count: how many there are; about: what their writer says of them, {} for a stranger's;
    bad: messages about those that could not be read, complete when all batches have been.
    """

    path: Path
    shape: tuple[int, int, int]
    count: int
    about: dict[str, Any]
    bad: list[str]

    @abstractmethod
    def batches(self) -> Iterator[SampleBatch]:
        """All of them, `BATCH` at a time."""

    @abstractmethod
    def file(self) -> dict[str, Any]:
        """Which file or folder it was."""

    def protocol(self) -> dict[str, Any]:
        """What two sets of samples have to share for their numbers to be comparable."""
        said = self.about.get("samples", UNKNOWN)
        return said | {"count": self.count - len(self.bad)}


def open_samples(path: Path, max_bad: float = 0.0) -> Samples:
    """The samples at `path`.

    max_bad: the share of a folder's images that may be unreadable. Raises `InputError` where there are none, or one
    that is of another size.
    """
    return Npz(path) if path.suffix == ".npz" else Folder(path, max_bad)


def _said(about: Any) -> dict[str, Any]:
    """What a writer says of its samples; `ValueError` unless it has the form that `isd_image.sample` gives it."""
    samples = about.get("samples", UNKNOWN) if isinstance(about, dict) else None
    if not isinstance(samples, dict) or not samples.keys() - {"count"} == UNKNOWN.keys():
        raise ValueError(f"about describes no samples by {', '.join(UNKNOWN)}")
    cycle = about.get("cycle") or []
    if not isinstance(cycle, list) or not all(isinstance(label, int) for label in cycle):
        raise ValueError("about has a cycle that is no list of classes")
    return about


class Npz(Samples):
    """arr_0: [N, H, W, C] bytes; arr_1: [N] classes, which may be missing."""

    def __init__(self, path: Path) -> None:
        self.path, self.bad = path, []
        try:
            with np.load(path, allow_pickle=False) as file:
                self._labels = file["arr_1"] if "arr_1" in file.files else None
                self.about = parse_json(str(file["about"])) if "about" in file.files else {}
            self.about = _said(self.about)
            self._rows = Rows.open(path, "arr_0")
        except DAMAGED as error:
            raise InputError(f"samples={path} is no npz of samples (arr_0: [N, H, W, C] bytes): {error}.") from error
        shape = self._rows.shape
        if self._rows.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape:
            raise InputError(
                f"samples={path}: arr_0 is {self._rows.dtype} of shape {list(shape)}, "
                "expected bytes [N, H, W, 1 or 3] with at least one image of at least one pixel."
            )
        labels = self._labels
        if labels is not None and (labels.shape != shape[:1] or not np.issubdtype(labels.dtype, np.integer)):
            raise InputError(
                f"samples={path}: {shape[0]} images, but labels (arr_1) of shape {list(labels.shape)} and type "
                f"{labels.dtype}; expected one integer each."
            )
        self.count, self.shape = shape[0], (shape[3], shape[1], shape[2])

    def batches(self) -> Iterator[SampleBatch]:
        start = 0
        for part in self._rows.parts(BATCH):
            images = torch.from_numpy(part.transpose(0, 3, 1, 2).copy())
            labels = None if self._labels is None else self._labels[start : start + len(part)].astype(np.int64)
            yield SampleBatch(images, None if labels is None else torch.from_numpy(labels))
            start += len(part)

    def file(self) -> dict[str, Any]:
        return {"file": self.path.name, "sha256": files.sha256(self.path)}


class Folder(Samples):
    """One image file a sample; `samples.json` tells the classes of those that `isd_image.sample` numbered."""

    def __init__(self, path: Path, max_bad: float) -> None:
        if not path.is_dir():
            raise InputError(f"samples={path} is no folder and no .npz: give what isd_image.sample wrote.")
        self.path, self.bad, self._max_bad = path, [], max_bad
        self._raw: Entries = open_images(str(path))
        self._raw.tell_skipped()
        try:
            self.about = _said(files.read_json(path / ABOUT) if (path / ABOUT).exists() else {})
        except ValueError as error:
            raise InputError(f"samples={path}: {ABOUT} is not what isd_image.sample writes: {error}.") from error
        self.count = len(self._raw)
        self.shape = self._first_shape()

    def _first_shape(self) -> tuple[int, int, int]:
        bad = []
        for i in range(self.count):
            try:
                channels, height, width = self._image(i).shape
            except BadImageError as error:
                bad.append(str(error))
                check_bad(bad, self.count, self._max_bad)
            else:
                return channels, height, width
        raise InputError(f"samples={self.path}: not one image could be read.")

    def batches(self) -> Iterator[SampleBatch]:
        self.bad = []
        for start in range(0, self.count, BATCH):
            images, numbers = [], []
            for i in range(start, min(start + BATCH, self.count)):
                try:
                    images.append(self._checked(i))
                    numbers.append(i)
                except BadImageError as error:
                    self.bad.append(str(error))
                    check_bad(self.bad, self.count, self._max_bad)
            if images:
                yield SampleBatch(torch.stack(images), self._labels(numbers))

    def _checked(self, i: int) -> Tensor:
        image = self._image(i)
        if tuple(image.shape) != self.shape:
            raise InputError(
                f"samples={self.path}: {self._raw.key(i)} has the shape {list(image.shape)} (channels, height, width), "
                f"others have {list(self.shape)}; expected one shape."
            )
        return image

    def _image(self, i: int) -> Tensor:
        try:
            array = np.array(decode(self._raw.read(i)))
        except (BadImageError, OSError) as error:
            raise BadImageError(f"{self._raw.key(i)}: {error}") from error
        return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())

    def _labels(self, numbers: list[int]) -> Tensor | None:
        """By the number in each file's name, which is that of the sample, whichever others are missing."""
        cycle = self.about.get("cycle")
        stems = [Path(self._raw.key(i)).stem for i in numbers]
        if not cycle or not all(stem.isdecimal() for stem in stems):
            return None
        return torch.tensor([cycle[int(stem) % len(cycle)] for stem in stems])

    def file(self) -> dict[str, Any]:
        return {"folder": self.path.name}
