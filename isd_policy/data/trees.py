"""HDF5 files and zarr stores as one thing: arrays under paths such as `data/demo_0/obs/state`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isd_core.support import hdf5_groups
from isd_core.support.errors import InputError
from isd_core.support.zarr_checks import read_rows
from isd_core.support.zarr_groups import is_group, open_group

SHOWN = 12
"""Arrays that a message lists."""


@dataclass(frozen=True)
class Span:
    """Rows [begin, end) of an array."""

    array: str
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin


class Tree:
    """The arrays of an open file, by path, in the order of their numbers. attributes: the root's, as they are."""

    def __init__(self, path: Path, arrays: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        self.path, self.arrays, self.attributes = path, arrays, attributes

    def node(self, array: str, what: str) -> Any:
        """An array; `InputError` with the arrays that there are. what: who asked for it."""
        if array not in self.arrays:
            raise InputError(f"{self.path}: {what} is to be {array}, which is not there. It holds {self.listed()}.")
        return self.arrays[array]

    def rows(self, span: Span) -> np.ndarray:
        """[len(span), ...] as the file has them."""
        node = self.arrays[span.array]
        if isinstance(node, h5py.Dataset):
            values: np.ndarray = node[span.begin : span.end]
            return values
        return read_rows(self.path, node, span.begin, span.end)

    def listed(self) -> str:
        """The arrays in words, with `*` for numbers: data/demo_*/act [2], ... ."""
        found: dict[str, str] = {}
        for name, node in self.arrays.items():
            found.setdefault(starred(name), f"{list(node.shape[1:])} {node.dtype}")
        words = [f"{name} {shape}" for name, shape in found.items()]
        return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "") or "nothing"


def starred(name: str) -> str:
    """A path with `*` for the number at the end of each part, of `demo_12` or `12`."""
    parts = [part.rstrip("0123456789") for part in name.split("/")]
    return "/".join(
        f"{stem}*" if stem != part and (not stem or stem[-1] in "_-.") else part
        for stem, part in zip(parts, name.split("/"), strict=True)
    )


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts `demo_2/act` before `demo_10/act`."""
    return [hdf5_groups.number(part) for part in name.split("/")]


def is_tree(path: Path) -> bool:
    """Whether a path is an HDF5 file or a zarr store."""
    return (path.is_file() and hdf5_groups.is_hdf5(path)) or (path.exists() and is_group(path))


@contextmanager
def opened(path: Path, external: bool = False) -> Iterator[Tree]:
    """The arrays of an HDF5 file or a zarr store. external: whether it may take data from other files.

    Raises `InputError` where it is neither, or damaged.
    """
    if path.exists() and is_group(path):
        group = open_group(path, external)
        try:
            found = dict(_of_zarr(group))
        except Exception as error:  # zarr raises what it likes on damaged metadata
            raise InputError(
                f"{path} has an array that cannot be opened ({error}). Copy or convert it again."
            ) from error
        yield Tree(path, dict(sorted(found.items(), key=lambda entry: natural(entry[0]))), dict(group.attrs))
        return
    with hdf5_groups.opened(path, external, expected="an HDF5 file or a zarr store of episodes") as file:
        found = {name: node for name, node in file.arrays() if node.shape}
        yield Tree(path, dict(sorted(found.items(), key=lambda entry: natural(entry[0]))), dict(file.file.attrs))


def _of_zarr(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, array in group.arrays():
        if array.shape:
            yield above + name, array
    for name, inner in group.groups():
        yield from _of_zarr(inner, f"{above}{name}/")


class RowsOfTree:
    """Reads rows of several spans, counted over all of them; the rows that are asked for lie in one span.

    The process that reads opens the file, and looks at its links again: by then it may be another file.
    """

    def __init__(self, path: Path, spans: Sequence[Span], external: bool) -> None:
        self.path, self.spans, self.external = path, list(spans), external
        self._ends = np.cumsum([len(span) for span in spans])
        self._tree: Tree | None = None
        self._open = ExitStack()

    def __call__(self, first: int, end: int) -> np.ndarray:
        if self._tree is None:
            self._tree = self._open.enter_context(opened(self.path, self.external))
        number = int(np.searchsorted(self._ends, first, side="right"))
        span = self.spans[number]
        shift = span.begin - int(self._ends[number]) + len(span)
        self._tree.node(span.array, "an observation of the training")
        try:
            return self._tree.rows(Span(span.array, first + shift, end + shift))
        except (OSError, RuntimeError) as error:
            raise InputError(hdf5_groups.failure(self.path, error)) from error
