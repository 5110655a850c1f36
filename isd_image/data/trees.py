"""Folders of images: one folder a class, or one flat folder without classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from isd_core.support.errors import InputError
from isd_image.data.entries import SUFFIXES, Entries, Entry, hidden, listed


def read_folder(root: Path, follow_links: bool) -> Entries:
    """The images below a folder; those directly in it make it flat.

    Raises `InputError` where there are none, for an empty class, and where both readings make sense.
    """
    return _Folder(root, follow_links).entries()


class _Folder:
    """The images below one folder."""

    def __init__(self, root: Path, follow_links: bool) -> None:
        self.root, self.real, self.follow = root, root.resolve(), follow_links
        self.skipped: Counter[str] = Counter()

    def entries(self) -> Entries:
        top = sorted(self._members(self.root))
        folders = [path for path in top if path.is_dir()]
        own = self._images(path for path in top if not path.is_dir())
        below = {folder.name: self._images(self._walk(folder, {self.real})) for folder in folders}
        if own:
            return self._flat(own, {name: found for name, found in below.items() if found})
        for name, found in below.items():
            if not found:
                left = f"; left out: {listed(self.skipped)}" if self.skipped else ""
                raise InputError(
                    f"The class folder {self.root / name} holds no images ({', '.join(SUFFIXES)}{left}): fill or "
                    "remove it."
                )
        entries = [self._entry(path, label) for label, found in enumerate(below.values()) for path in found]
        if not entries:
            left = f" Left out: {listed(self.skipped)}." if self.skipped else ""
            raise InputError(f"images={self.root}: there are no images ({', '.join(SUFFIXES)}) in this folder.{left}")
        return Entries(str(self.root), entries, len(below), list(below), self.skipped)

    def _flat(self, own: list[Path], below: dict[str, list[Path]]) -> Entries:
        """A folder with images of its own: it has no classes, and its sub-folders are left out.

        Several sub-folders with more images than it has itself are classes with strays beside them, or the other way
        round: `InputError`.
        """
        inner = sum(map(len, below.values()))
        if len(below) > 1 and inner > len(own):
            raise InputError(
                f"images={self.root} holds {len(own)} images of its own ({own[0].name}, ...) and {inner} in "
                f"{len(below)} sub-folders ({next(iter(below))}, ...). Remove the former for one class a sub-folder, "
                "or move the sub-folders away for a flat folder."
            )
        for name, found in below.items():
            self.skipped[f"in the sub-folder {name}"] += len(found)
        return Entries(str(self.root), [self._entry(path, 0) for path in own], 0, [], self.skipped)

    def _entry(self, path: Path, label: int) -> Entry:
        return Entry(str(path.relative_to(self.root)), label, path, 0, path.stat().st_size)

    def _images(self, paths: Iterable[Path]) -> list[Path]:
        found = []
        for path in paths:
            if path.suffix.lower() not in SUFFIXES:
                self.skipped[f"with the suffix {path.suffix.lower()}" if path.suffix else "without a suffix"] += 1
            elif path.is_file():
                found.append(path)
            else:
                self.skipped["broken links" if path.is_symlink() else "that are no files"] += 1
        return sorted(found)

    def _walk(self, folder: Path, above: set[Path]) -> Iterator[Path]:
        """The files below a folder. above: the folders that lead here, links back to them are not followed."""
        real = folder.resolve()
        if real in above:
            self.skipped["links in a circle"] += 1
            return
        for path in self._members(folder):
            if path.is_dir():
                yield from self._walk(path, above | {real})
            else:
                yield path

    def _members(self, folder: Path) -> Iterator[Path]:
        """What lies in a folder, without the hidden and without links that lead out of the root."""
        with os.scandir(folder) as found:
            for item in found:
                path = folder / item.name
                if hidden(item.name):
                    self.skipped["hidden"] += 1
                elif item.is_symlink() and not self.follow and not path.resolve().is_relative_to(self.real):
                    self.skipped["links out of the folder (follow_links=true takes them)"] += 1
                else:
                    yield path
