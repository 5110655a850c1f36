"""Raw images on disk: trees of class folders, flat folders, and tar shards."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from isd_core.support.errors import InputError
from isd_image.data.crop import centre_crop, to_tensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class RawImages(Protocol):
    """Numbered images with labels, in an order that depends on their names alone."""

    source: str
    classes: int

    def __len__(self) -> int: ...

    def key(self, i: int) -> str:
        """A name for messages."""
        ...

    def label(self, i: int) -> int: ...

    def read(self, i: int) -> bytes:
        """The encoded image."""
        ...

    def digest(self) -> str:
        """A hash over names, sizes and labels."""
        ...


def decode(data: bytes) -> Image.Image:
    """An encoded image as RGB; `ValueError` when it cannot be read to its end."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError("it is no image of a known format") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


@dataclass(frozen=True)
class Entry:
    """Where one image lies: a file, or `size` bytes at `offset` of a tar shard."""

    key: str
    label: int
    file: Path
    offset: int
    size: int


class Entries:
    """Images that are known by an `Entry` each."""

    def __init__(self, source: str, entries: list[Entry], classes: int, names: list[str]) -> None:
        self.source, self.entries, self.classes, self.names = source, entries, classes, names

    def __len__(self) -> int:
        return len(self.entries)

    def key(self, i: int) -> str:
        return self.entries[i].key

    def label(self, i: int) -> int:
        return self.entries[i].label

    def read(self, i: int) -> bytes:
        entry = self.entries[i]
        with entry.file.open("rb") as file:
            file.seek(entry.offset)
            return file.read(entry.size)

    def pixels(self, i: int, size: int, channels: int) -> Tensor:
        """Image i as bytes [channels, size, size] of its centre crop; `InputError` when it cannot be read."""
        try:
            return to_tensor(centre_crop(decode(self.read(i)), size), channels)
        except ValueError as error:
            raise InputError(f"{self.source}/{self.key(i)} cannot be read: {error}. Remove or replace it.") from error

    def digest(self) -> str:
        lines = (f"{e.key}\t{e.size}\t{e.label}\n" for e in self.entries)
        return _sha256(lines)


def _sha256(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def open_images(path: str) -> Entries:
    """The images at `path`: a tree of class folders, a flat folder (no labels), a tar file, or a pattern of tar files.

    Classes are numbered in the order of their folders' names. Raises `InputError` where there are no images.
    """
    if Path(path).is_dir():
        return _folder(Path(path))
    shards = [Path(name) for name in sorted(glob.glob(path))]
    if shards and all(shard.suffix == ".tar" for shard in shards):
        return _tars(path, shards)
    raise InputError(
        f"images={path}: expected a folder of images, a folder with one folder of images a class, or tar files "
        "(a pattern such as 'train-*.tar')."
    )


def _folder(root: Path) -> Entries:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    groups = [(path.name, path.rglob("*")) for path in folders] if folders else [("", root.glob("*"))]
    entries: list[Entry] = []
    names: list[str] = []
    for name, paths in groups:
        found = sorted(p for p in paths if p.suffix.lower() in SUFFIXES and p.is_file())
        if folders and not found:
            raise InputError(
                f"The class folder {root / name} holds no images ({', '.join(SUFFIXES)}): fill or remove it."
            )
        entries += [Entry(str(p.relative_to(root)), len(names), p, 0, p.stat().st_size) for p in found]
        names.append(name)
    if not entries:
        raise InputError(f"images={root}: there are no images ({', '.join(SUFFIXES)}) in this folder.")
    return Entries(str(root), entries, len(names) if folders else 0, names if folders else [])


def _tars(pattern: str, shards: list[Path]) -> Entries:
    """webdataset's layout: `<key>.jpg` beside `<key>.cls` (the class as a number) or `<key>.json` with "label"."""
    entries: list[Entry] = []
    labelled = 0
    for shard in shards:
        images: dict[str, tuple[int, int]] = {}
        labels: dict[str, int] = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    stem, _, suffix = member.name.partition(".")
                    if f".{suffix.lower()}" in SUFFIXES:
                        images[stem] = (member.offset_data, member.size)
                    elif suffix in ("cls", "json") and (file := tar.extractfile(member)) is not None:
                        labels[stem] = _label(file.read(), suffix, f"{shard}:{member.name}")
        except tarfile.TarError as error:
            raise InputError(f"{shard} is not a whole tar file: {error}.") from error
        labelled += len(labels)
        for key, (offset, size) in images.items():
            if labels and key not in labels:
                raise InputError(f"{shard}: the image {key} has neither {key}.cls nor {key}.json beside it.")
            entries.append(Entry(f"{shard.name}:{key}", labels.get(key, 0), shard, offset, size))
    if not entries:
        raise InputError(f"images={pattern}: the tar files hold no images ({', '.join(SUFFIXES)}).")
    if 0 < labelled < len(entries):
        raise InputError(f"images={pattern}: {labelled} of {len(entries)} images have labels; expected all or none.")
    classes = 1 + max(entry.label for entry in entries) if labelled else 0
    return Entries(pattern, entries, classes, [])


def _label(data: bytes, suffix: str, where: str) -> int:
    try:
        label = int(data) if suffix == "cls" else int(json.loads(data)["label"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where}: expected a class number, found {data[:40]!r}.") from error
    if label < 0:
        raise InputError(f"{where}: the class number {label} is negative.")
    return label
