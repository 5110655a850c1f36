"""Opening HDF5 files, of whatever layout.

A file does not reach outside itself: what it would take from another file is refused, unless the caller allows it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from isd_core.support.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_LINKS = 16
"""Soft links that lead to one another are followed this often, and a ring of them ends here."""


@contextmanager
def opened(path: Path, external: bool = False, *, expected: str = "an HDF5 file") -> Iterator[HDF5File]:
    """The file, for reading. external: whether it may take data from other files. expected: what it should be.

    Raises `InputError` where it is absent, no HDF5, open in another program, or damaged; also for errors of the library
    while the block reads from it.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}. Give data=FILE, {expected}.")
    try:
        if not is_hdf5(path):
            raise InputError(f"{path} is not an HDF5 file; expected {expected}.")
        with h5py.File(path, "r") as file:
            yield HDF5File(path, file, external)
    except (OSError, RuntimeError) as error:
        raise InputError(failure(path, error)) from error


def is_hdf5(path: Path) -> bool:
    """Whether HDF5's signature stands at byte 0, 512, 1024, 2048 and so on.

    h5py.is_hdf5 says no to a file that its writer has locked.
    """
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            offset = max(512, 2 * offset)
    return False


def failure(path: Path, error: Exception) -> str:
    """What an error of the library means to the user."""
    text = str(error)
    if getattr(error, "errno", None) in (errno.EAGAIN, errno.EACCES) and "lock" in text:
        return f"{path} is open in another program, probably its recorder. Close it there, and try again."
    if "already open for write" in text:
        return (
            f"{path} is marked as open for writing: its recorder still has it open, or ended without closing it. Close "
            f"it there; if no program has it, clear the mark by `h5clear -s {path.name}`."
        )
    if isinstance(error, PermissionError):
        return f"{path} may not be read by this user ({error.strerror})."
    return f"{path} cannot be read to its end and is probably truncated or damaged ({text}). Copy or generate it again."


def number(name: str) -> tuple[int, str]:
    """Sorts demo_2 before demo_10."""
    digits = re.search(r"(\d+)$", name)
    return (int(digits[1]) if digits else -1, name)


class HDF5File:
    """An open file."""

    def __init__(self, path: Path, file: h5py.File, external: bool) -> None:
        self.path, self.file, self.external = path, file, external

    def member(self, path: str, links: int = 0) -> h5py.Group | h5py.Dataset | None:
        """The member at a path, or None. Each link on the way is looked at before it is followed."""
        node: Any = self.file
        parts = [part for part in path.split("/") if part]
        for place, part in enumerate(parts):
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            here = "/".join(parts[: place + 1])
            if link is None:
                return None
            if isinstance(link, h5py.ExternalLink):
                self.outside(here, f"a link to {link.filename}")
            elif isinstance(link, h5py.SoftLink):
                target = link.path if link.path.startswith("/") else "/".join([*parts[:place], link.path])
                found = self.member(target, links + 1) if links < MOST_LINKS else None
                if found is None:
                    raise InputError(
                        f"{self.path}: {here} is a link to {link.path}, which is not in the file. The file is "
                        "incomplete; copy or generate it again."
                    )
                node = found
                continue
            try:
                node = node[part]
            except KeyError as error:
                raise InputError(f"{self.path}: {here} cannot be opened ({error.args[0]}).") from error
        if isinstance(node, h5py.Dataset):
            self._check_storage(path, node)
        return node if isinstance(node, h5py.Group | h5py.Dataset) else None

    def _check_storage(self, path: str, node: h5py.Dataset) -> None:
        if node.external:
            self.outside(path, f"stored in {node.external[0][0]}")
        if node.is_virtual:
            for source in node.virtual_sources():
                if source.file_name != ".":
                    self.outside(path, f"a view of {source.file_name}")

    def outside(self, path: str, what: str) -> None:
        """Raises `InputError` for something that is not in the file, unless that was allowed."""
        if not self.external:
            raise InputError(
                f"{self.path}: {path} is {what}. A data file may not take data from other files. Where you trust it, a "
                "training allows that by dataset.external=true, and replay, inspect and convert by external=true."
            )

    def check_own(self) -> None:
        """Looks at every member. Raises `InputError` where one lies outside the file or leads nowhere."""

        seen: set[h5py.h5g.GroupID] = set()

        def walk(path: str) -> None:
            node = self.member(path) if path else self.file
            if not isinstance(node, h5py.Group) or node.id in seen:  # links may form rings
                return
            seen.add(node.id)
            for name in node:
                walk(f"{path}/{name}")

        walk("")

    def arrays(self) -> Iterator[tuple[str, h5py.Dataset]]:
        """(path, array) of every array of the file; groups that links repeat are walked once."""
        seen: set[h5py.h5g.GroupID] = set()
        waiting = [""]
        while waiting:
            above = waiting.pop()
            parent = self.member(above) if above else self.file
            if not isinstance(parent, h5py.Group) or parent.id in seen:
                continue
            seen.add(parent.id)
            for name in parent:
                path = f"{above}/{name}" if above else name
                node = self.member(path)
                if isinstance(node, h5py.Dataset):
                    yield path, node
                elif node is not None:
                    waiting.append(path)
