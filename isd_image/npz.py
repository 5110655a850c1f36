"""Large arrays of bytes in npz files, written and read in parts."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from isd_core.support import files
from isd_core.support.errors import InputError

DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError)
"""What reading an npz raises when it is none, is damaged, holds pickles, or announces more than there is memory for."""


@dataclass(frozen=True)
class Streamed:
    """An array of bytes that comes in parts along its first axis; `shape` is that of all of them."""

    shape: tuple[int, ...]
    parts: Iterator[np.ndarray]


def write_npz(path: Path, arrays: Mapping[str, np.ndarray | Streamed | str]) -> None:
    """Writes an npz that `numpy.load` reads; whole or absent. Streamed arrays are never in memory as a whole.

    Raises `ValueError` when the parts are not as many rows as they were said to be.
    """
    with files.atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                if isinstance(array, Streamed):
                    _write_parts(file, array)
                else:
                    npy.write_array(file, np.asanyarray(array), allow_pickle=False)


def _write_parts(file: IO[bytes], array: Streamed) -> None:
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": array.shape})
    rows = 0
    for part in array.parts:
        if part.dtype != np.uint8 or part.shape[1:] != array.shape[1:]:
            raise ValueError(f"a part is {part.dtype} {part.shape}, expected bytes {array.shape}")
        file.write(np.ascontiguousarray(part).tobytes())
        rows += len(part)
    if rows != array.shape[0]:
        raise ValueError(f"{rows} rows were written, {array.shape[0]} announced")


@dataclass(frozen=True)
class Rows:
    """One array of bytes in an npz, to be read in parts."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def open(cls, path: Path, name: str) -> Rows:
        """Reads the array's header. Raises one of `DAMAGED`."""
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            shape, in_columns, dtype = _header(file)
        if in_columns and len(shape) > 1:
            raise ValueError(f"{name} is stored by columns")
        return cls(path, name, shape, dtype)

    def parts(self, rows: int) -> Iterator[np.ndarray]:
        """The array, `rows` at a time. A checksum that does not fit raises `InputError` at the end."""
        size = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as file:
                _header(file)
                for start in range(0, self.shape[0], rows):
                    count = min(rows, self.shape[0] - start)
                    data = file.read(count * size)
                    if len(data) != count * size:
                        raise ValueError("it was cut off")
                    yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])
                if file.read(1):  # also has the checksum compared
                    raise ValueError("it is longer than its header says")
        except DAMAGED as error:
            raise InputError(f"{self.path}: the array {self.name} is damaged: {error}. Write it again.") from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in read:
        raise ValueError(f"npy format {version} is unknown")
    shape, in_columns, dtype = read[version](file)
    return shape, in_columns, dtype
