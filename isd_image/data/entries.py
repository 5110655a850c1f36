"""Numbered images on disk, before they are decoded."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from isd_image.data.crop import centre_crop, to_tensor
from isd_image.data.decode import BadImageError, decode

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def hidden(name: str) -> bool:
    """Whether a file's or folder's name is no data's: dot files, and what macOS packs beside them."""
    return name.startswith(".") or name == "__MACOSX"


@dataclass(frozen=True)
class Entry:
    """Where one image lies: a file, or `size` bytes at `offset` of a tar shard."""

    key: str
    label: int
    file: Path
    offset: int
    size: int


@dataclass
class Entries:
    """Numbered images with labels, in an order that depends on their names alone.

    classes: 0 for images without labels; names: of the classes, where folders give them; skipped: how many files of
    each kind were left out.
    """

    source: str
    entries: list[Entry]
    classes: int
    names: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, i: int) -> str:
        """A name for messages."""
        return self.entries[i].key

    def label(self, i: int) -> int:
        return self.entries[i].label

    def read(self, i: int) -> bytes:
        """The encoded image."""
        entry = self.entries[i]
        with entry.file.open("rb") as file:
            file.seek(entry.offset)
            return file.read(entry.size)

    def pixels(self, i: int, size: int, channels: int) -> Tensor:
        """Image i as bytes [channels, size, size] of its centre crop; `BadImageError` with its name and the reason."""
        try:
            return to_tensor(centre_crop(decode(self.read(i)), size), channels)
        except (BadImageError, OSError, MemoryError) as error:
            raise BadImageError(f"{self.key(i)}: {error}") from error

    def digest(self) -> str:
        """A hash over names, sizes and labels."""
        digest = hashlib.sha256()
        for e in self.entries:
            digest.update(f"{e.key}\t{e.size}\t{e.label}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def tell_skipped(self) -> None:
        """One line on stderr about what was left out, if anything was."""
        if self.skipped:
            print(f"{self.source}: left out {listed(self.skipped)}.", file=sys.stderr)


def listed(skipped: Counter[str]) -> str:
    """What was left out, in words: "3 with the suffix .txt, 1 hidden"."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
