"""What is looked at before a zarr store is believed: its codecs, its chunks, its metadata.

zarr itself builds whatever codec the metadata names, among them one that unpickles, and reads a chunk that is not there
as zeros.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.files import parse_json

DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zmetadata")
SAFE_CODECS = frozenset(
    {"adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta", "fixedscaleoffset"}
    | {"fletcher32", "gzip", "lz4", "lzma", "packbits", "quantize", "sharding_indexed", "shuffle", "transpose"}
    | {"zlib", "zstd"}
)
"""Codecs of numbers that do no more than compute; zarr v3 writes those of numcodecs with that word before them."""
CODEC_FIELDS = ("codecs", "index_codecs", "compressor", "filters")
FREE_TEXT = ("attributes", "fill_value")


def documents(path: Path) -> Iterator[tuple[str, Any]]:
    """The metadata files of a store in a folder or a ZIP file: name and JSON. Raises `InputError` for damaged ones."""
    for name, data in _texts(path):
        try:
            yield name, parse_json(data)
        except ValueError as error:
            raise InputError(f"{path}: {name} is not valid JSON ({error}). Copy or convert it again.") from error


def _texts(path: Path) -> Iterator[tuple[str, bytes]]:
    if not path.is_dir():
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.rpartition("/")[2] in DOCUMENTS:
                    yield member, archive.read(member)
        return
    for folder, folders, names in os.walk(path):
        for name in sorted(set(DOCUMENTS).intersection(names)):
            place = Path(folder) / name
            data = place.read_bytes()
            if name == ".zarray" or (name == "zarr.json" and b'"array"' in data):
                folders.clear()  # chunks alone lie below an array
            yield str(place.relative_to(path)), data


def check_codecs(path: Path) -> None:
    """Raises `InputError` for a codec that is not one of `SAFE_CODECS` and for arrays of Python objects.

    To be called before zarr opens the store: opening builds the codecs.
    """
    for name, document in documents(path):
        try:
            found = list(_codecs(document))
        except RecursionError as error:
            raise InputError(
                f"{path}: {name} is nested too deep for a zarr store. Copy or convert it again."
            ) from error
        for codec in found:
            if codec.removeprefix("numcodecs.") not in SAFE_CODECS:
                raise InputError(
                    f"{path}: {name} names the codec `{codec}`, which is not read: only codecs of numbers are, because "
                    "others can run programs that the file brings along. Get the data in another encoding."
                )


def _codecs(node: Any) -> Iterator[str]:
    """The names of all codecs in a metadata document, however nested; objects count as the codec `object`."""
    if isinstance(node, list):
        for value in node:
            yield from _codecs(value)
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key in CODEC_FIELDS:
            for codec in value if isinstance(value, list) else [value]:
                if codec is not None:
                    yield _name(codec)
        if key == "dtype" and "O" in str(value):
            yield "object"
        if key not in FREE_TEXT:
            yield from _codecs(value)


def _name(codec: Any) -> str:
    found = codec.get("id", codec.get("name")) if isinstance(codec, Mapping) else codec
    return str(found)


def digest(path: Path, without: str) -> str:
    """A hash of all metadata of a store, whatever its JSON's layout; `without` names an attribute of the root that is
    left out, for it holds the hash.
    """
    found = {}
    for name, document in documents(path):
        if name == "zarr.json" and isinstance(document, dict):
            document["attributes"] = {key: v for key, v in document.get("attributes", {}).items() if key != without}
        found[name] = document
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def lost_chunks(path: Path, array: Any) -> tuple[int, int]:
    """How many chunks of a zarr array are not there, and how many there should be."""
    grid = array.shards if getattr(array, "shards", None) else array.chunks
    counts = [-(-size // step) for size, step in zip(array.shape, grid, strict=True)]
    names = [f"{array.path}/{array.metadata.encode_chunk_key(place)}" for place in np.ndindex(*counts)]
    if path.is_dir():
        return sum(not (path / name).is_file() for name in names), len(names)
    with zipfile.ZipFile(path) as archive:
        return len(names) - len(set(names).intersection(archive.namelist())), len(names)


def check_chunks(path: Path, array: Any) -> None:
    """Raises `InputError` when chunks of an array are lost, which zarr would read as its fill value."""
    lost, count = lost_chunks(path, array)
    if lost:
        raise InputError(f"{path}: {lost} of {count} chunks of {array.path} are lost. Copy or convert it again.")


def has_checksums(array: Any) -> bool:
    """Whether each chunk of a zarr array ends in its CRC-32C."""
    return [type(codec).__name__ for codec in getattr(array, "compressors", ())][-1:] == ["Crc32cCodec"]


def read_rows(path: Path, array: Any, first: int = 0, end: int | None = None) -> np.ndarray:
    """Rows [first, end) of a zarr array; `InputError` for chunks that cannot be decoded or whose checksum differs."""
    try:
        return np.asarray(array[first:end])
    except Exception as error:  # codecs raise what they like on damaged data: ValueError, RuntimeError, zlib.error
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: a chunk of {array.path} is damaged ({said}). Copy or convert it again.") from error
