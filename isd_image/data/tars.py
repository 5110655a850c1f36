"""webdataset's tar shards: the files of a sample share a key, and differ in what follows it.

The key is the folder and the base name up to its first dot, as webdataset has it: `v1.0/x.jpg` and `v1.0/x.cls` belong
together, and so do `./x.jpg` and `./x.json`. `<key>.cls` holds the class as a number, `<key>.json` may hold it as
"label"; img2dataset's .json files hold none.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from isd_core.support.errors import InputError
from isd_core.support.files import parse_json
from isd_image.data.entries import SUFFIXES, Entries, Entry, hidden


def split_name(name: str) -> tuple[str, str]:
    """A member's key and the lower-case suffix behind it: "a/x.v2.JPG" -> ("a/x", "v2.jpg")."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


@dataclass
class _Shard:
    """images: key -> (offset, size); labels: key -> class; where: key -> the member that said so."""

    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)


def read_tars(pattern: str, shards: list[Path], classes: int | None) -> Entries:
    """The images of tar shards. classes: the number of classes, where the highest label may be lower.

    Raises `InputError` for shards without images, damaged ones, labels that are none, and images with and without them.
    """
    entries: list[Entry] = []
    skipped: Counter[str] = Counter()
    labelled = 0
    for path in shards:
        shard = _read(path, skipped)
        labelled += len(shard.labels.keys() & shard.images.keys())
        for key, (offset, size) in shard.images.items():
            if shard.labels and key not in shard.labels:
                raise InputError(f"{path}: the image {key} has neither {key}.cls nor a label in {key}.json beside it.")
            entries.append(Entry(f"{path.name}:{key}", shard.labels.get(key, 0), path, offset, size))
    if not entries:
        raise InputError(f"images={pattern}: the tar files hold no images ({', '.join(SUFFIXES)}).")
    if 0 < labelled < len(entries):
        raise InputError(f"images={pattern}: {labelled} of {len(entries)} images have labels; expected all or none.")
    seen = 1 + max(entry.label for entry in entries) if labelled else 0
    declared = classes if labelled and classes is not None and classes > seen else seen
    return Entries(pattern, entries, declared, [], skipped)


def _read(path: Path, skipped: Counter[str]) -> _Shard:
    shard = _Shard()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isdir():
                    _take(tar, member, path, shard, skipped)
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path} is not a whole tar file: {error}.") from error
    return shard


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, shard: _Shard, skipped: Counter[str]) -> None:
    key, suffix = split_name(member.name)
    parts = [part for part in PurePosixPath(member.name).parts if part not in (".", "..")]
    if any(map(hidden, parts)):
        skipped["hidden"] += 1
    elif not member.isreg():
        skipped["links" if member.issym() or member.islnk() else "that are no files"] += 1
    elif f".{suffix}" in SUFFIXES:
        if key in shard.images:
            raise InputError(f"{path}: {key} has two images; expected one for each key.")
        shard.images[key] = (member.offset_data, member.size)
    elif suffix in ("cls", "json") and (file := tar.extractfile(member)) is not None:
        where = f"{path}:{member.name}"
        label = _cls(file.read(), where) if suffix == "cls" else _json(file.read(), where)
        if label is not None and shard.labels.setdefault(key, label) != label:
            raise InputError(f"{where} says class {label}, {shard.where[key]} says {shard.labels[key]}.")
        if label is not None:
            shard.where[key] = where
    else:
        skipped[f"with the suffix .{suffix}" if suffix else "without a suffix"] += 1


def _cls(data: bytes, where: str) -> int:
    try:
        return _checked(int(data), where)
    except ValueError as error:
        raise InputError(f"{where}: expected a class number, found {data[:40]!r}.") from error


def _json(data: bytes, where: str) -> int | None:
    """The "label" of a JSON object; None where it has none."""
    try:
        found = parse_json(data, finite=False)
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON: {error}.") from error
    if not isinstance(found, dict) or "label" not in found:
        return None
    label = found["label"]
    if isinstance(label, str) and label.strip().isdecimal():
        label = int(label)
    if isinstance(label, bool) or not isinstance(label, int):
        raise InputError(f"{where}: expected a class number as label, found {label!r}.")
    return _checked(label, where)


def _checked(label: int, where: str) -> int:
    if label < 0:
        raise InputError(f"{where}: the class number {label} is negative.")
    return label
