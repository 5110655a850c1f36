"""Episodes in a zarr store: data/<key> [N, ...], meta/episode_ends [E], and the file's description in its attributes.

The layout of Diffusion Policy's replay buffers, in zarr v3. Numbers lie in large chunks; pictures in chunks of a few
steps, so that a window costs one or two of them. Every chunk is there and ends in its CRC-32C; the metadata has a hash.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.registry import register
from isd_core.support.zarr_checks import check_chunks, digest, has_checksums, lost_chunks, read_rows
from isd_core.support.zarr_groups import check_link, is_group, open_group
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.reader import ACTIONS, Description, Reader, ReadOptions, finite
from isd_policy.data.rows import RowsOnDisk, fits_in_memory

FORMAT = "isd-episodes"
CHECKSUM = "metadata_sha256"
"""The attribute with the hash of all metadata, itself apart."""
CHUNK_STEPS = 8
"""Steps in a chunk of pictures."""
READ_STEPS = 512


@dataclass(frozen=True)
class Store:
    """An open store under one set of names. arrays: key -> zarr array [N, ...]; ends: [E]."""

    path: Path
    arrays: Mapping[str, Any]
    ends: np.ndarray
    names: tuple[str, ...]
    masks: Mapping[str, Sequence[str]]
    env_args: dict[str, Any] | None
    external: bool
    rate: float | None = None
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, external: bool = False) -> Store:
        """Raises `InputError` where the description is missing, the lengths do not fit each other, chunks are lost, or
        the metadata is not what was written.
        """
        group = open_group(path, external)
        described = group.attrs.asdict()
        if CHECKSUM in described and digest(path, CHECKSUM) != described[CHECKSUM]:
            raise InputError(f"{path}: its metadata (zarr.json) is not what was written. Copy or convert it again.")
        try:
            last_steps, data = group["meta/episode_ends"], group["data"]
            arrays = dict(sorted(data.arrays()))
        except KeyError as error:
            raise InputError(
                f"{path} has no {error}; expected data/<key> and meta/episode_ends, as isd_policy.data.convert writes."
            ) from error
        if described.get("format") != FORMAT:
            raise InputError(
                f"{path} does not say of which environment it is (attribute format={described.get('format')!r}, "
                f"expected {FORMAT!r}): convert the HDF5 file that it came from by isd_policy.data.convert."
            )
        _check_chunks(path, described, [last_steps, *arrays.values()])
        ends = read_rows(path, last_steps)
        for key, array in arrays.items():
            if not len(ends) or array.shape[0] != ends[-1] or (np.diff(ends, prepend=0) < 1).any():
                last = ends[-1] if len(ends) else 0
                raise InputError(
                    f"{path}: data/{key} has {array.shape[0]} steps, meta/episode_ends says {last} in {len(ends)} "
                    "episodes of at least one step. The store is incomplete; convert it again."
                )
        names = tuple(described["names"])
        about = described["masks"], described["env_args"], external, described.get("rate"), described.get("labels", {})
        return cls(path, arrays, ends, names, *about)


def _check_chunks(path: Path, described: Mapping[str, Any], arrays: Sequence[Any]) -> None:
    """Counts the chunks; their checksums are compared whenever they are read. For stores of before there were
    checksums, says what goes unchecked.
    """
    if CHECKSUM in described or any(map(has_checksums, arrays)):
        for array in arrays:
            check_chunks(path, array)
        if CHECKSUM not in described:
            raise InputError(f"{path}: the hash of its metadata ({CHECKSUM}) is lost. Copy or convert it again.")
        return
    lost = {array.path: lost_chunks(path, array) for array in arrays}
    absent = ", ".join(f"{gone} of {count} chunks of {name}" for name, (gone, count) in lost.items() if gone)
    print(
        f"{path} was written without checksums, so damage to it would not be noticed"
        f"{f'; {absent} are absent and read as zeros' if absent else ''}. Convert its source again.",
        file=sys.stderr,
    )


@register("reader", "zarr_store")
@dataclass(frozen=True)
class ZarrStore(Reader):
    """Stores of `isd_policy.data.convert`."""

    kind: ClassVar[str] = f"zarr store ({FORMAT})"

    def read(self, path: Path, options: ReadOptions) -> Demonstrations:
        """Raises `InputError` for what is missing, damaged, or not finite."""
        store = Store.open(path, options.external)
        episodes = _chosen(store, options.filter_key)
        first = np.concatenate([[0], store.ends[:-1]])
        spans = [(int(first[i]), int(store.ends[i])) for i in episodes]
        offered = [key for key in store.arrays if not key.startswith(ACTIONS)]
        keys = offered if options.observation_keys is None else options.observation_keys
        return Demonstrations(
            observations={key: _rows(store, key, spans, options.pictures) for key in keys},
            actions=_numbers(store, options.action_key, spans),
            lengths=np.array([end - begin for begin, end in spans]),
            names=tuple(store.names[i] for i in episodes),
            env_args=store.env_args,
            source=str(path),
            rate=store.rate,
            labels={key: tuple(store.labels[key]) for key in (*keys, ACTIONS) if key in store.labels},
        )

    def describe(self, path: Path, external: bool = False) -> Description:
        store = Store.open(path, external)
        shapes = {key: array.shape[1:] for key, array in store.arrays.items()}
        return Description(
            path=path,
            kind=self.kind,
            lengths=np.diff(store.ends, prepend=0),
            names=store.names,
            observations={key: shape for key, shape in shapes.items() if not key.startswith(ACTIONS)},
            actions={key: shape[0] for key, shape in shapes.items() if key.startswith(ACTIONS)},
            masks={key: tuple(names) for key, names in store.masks.items()},
            env_args=store.env_args,
            external=external,
            rate=store.rate,
            labels={key: tuple(names) for key, names in store.labels.items()},
        )

    def recognises(self, path: Path, external: bool = False) -> bool:
        return path.exists() and is_group(path) and "format" in open_group(path, external).attrs


def _chosen(store: Store, filter_key: str | None) -> list[int]:
    if filter_key is None:
        return list(range(len(store.ends)))
    if filter_key not in store.masks:
        known = ", ".join(sorted(store.masks)) or "none"
        raise InputError(
            f"{store.path} has no filter key `{filter_key}` (it has: {known}). Set dataset.filter_key to one of them, "
            "or to null for all demonstrations."
        )
    chosen = [i for i, name in enumerate(store.names) if name in set(store.masks[filter_key])]
    if not chosen:
        raise InputError(f"{store.path}: the filter key `{filter_key}` lists no demonstration; choose another or null.")
    return chosen


def _array(store: Store, key: str) -> Any:
    if key not in store.arrays:
        raise InputError(
            f"{store.path} has no data/{key}; there is: {', '.join(sorted(store.arrays))}. Set "
            "dataset.observation_keys or actions.key to what the store has."
        )
    return store.arrays[key]


def _numbers(store: Store, key: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    array = _array(store, key)
    if array.ndim != 2:
        raise InputError(f"{store.path}: data/{key} has shape {array.shape}; expected [steps, size] numbers.")
    values = read_rows(store.path, array).astype(np.float32, copy=False)
    values = np.concatenate([values[begin:end] for begin, end in spans])
    return finite(values, f"{store.path}: data/{key}")


def _rows(store: Store, key: str, spans: Sequence[tuple[int, int]], pictures: str) -> Rows:
    array = _array(store, key)
    if array.ndim != 4 or array.dtype != np.uint8:
        return _numbers(store, key, spans)
    shape = (sum(end - begin for begin, end in spans), *array.shape[1:])
    if fits_in_memory(int(np.prod(shape)), pictures):
        return np.concatenate([read_rows(store.path, array, begin, end) for begin, end in spans])
    return RowsOnDisk(_Shifted(chunk_reader(store.path, array, store.external), spans), shape)


class _Shifted:
    """Rows counted over the chosen episodes, read from rows counted over all of them."""

    def __init__(self, read: Any, spans: Sequence[tuple[int, int]]) -> None:
        lengths = [end - begin for begin, end in spans]
        self._read, self._ends = read, np.cumsum(lengths)
        self._shift = np.array([begin for begin, _ in spans]) - (self._ends - lengths)

    def __call__(self, first: int, end: int) -> np.ndarray:
        shift = int(self._shift[np.searchsorted(self._ends, first, side="right")])
        values: np.ndarray = self._read(first + shift, end + shift)
        return values


def chunk_reader(path: Path, array: Any, external: bool = False) -> Any:
    """Reads rows [first, end) of an array of pictures.

    Chunks that `create_pictures` wrote are read and decoded here: zarr's own read costs a millisecond a window, ten
    times as much as the decoding. Arrays of another making are read by zarr. external: as `open_group` has it, whose
    look at the links is repeated here, since a training reads for days. Raises `InputError`, when it reads, for a chunk
    that is lost, whose checksum differs, or that has become a link out of the store.
    """
    from google_crc32c import value as crc32c
    from numcodecs import blosc

    folder = path / array.path
    chunks, shape = array.chunks, array.shape
    names = [type(codec).__name__ for codec in getattr(array, "compressors", ())]
    plain = array.metadata.zarr_format == 3 and array.shards is None and folder.is_dir()
    checked = names == ["BloscCodec", "Crc32cCodec"]
    if not plain or not (checked or names == ["BloscCodec"]) or chunks[1:] != shape[1:]:
        return lambda first, end: read_rows(path, array, first, end)

    def chunk(number: int) -> np.ndarray:
        file = folder / array.metadata.encode_chunk_key((number, *[0] * (len(shape) - 1)))
        if not external:
            for place in (folder, file):
                check_link(place, path)
        if not checked and not file.exists():  # older stores have no chunks of zeros
            return np.zeros(chunks, np.uint8)
        try:
            data = file.read_bytes()
            if checked:
                data, stored = data[:-4], data[-4:]
                if crc32c(data) != int.from_bytes(stored, "little"):
                    raise ValueError("its checksum differs")
            return np.frombuffer(blosc.decompress(data), np.uint8).reshape(chunks)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{file} is lost or damaged ({error}). Copy or convert the store again.") from error

    def read(first: int, end: int) -> np.ndarray:
        begin = first // chunks[0]
        parts = [chunk(number) for number in range(begin, (end - 1) // chunks[0] + 1)]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return values[first - begin * chunks[0] : end - begin * chunks[0]]

    return read


def create_numbers(group: Any, key: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """A new array for numbers [N, d]."""
    from zarr.codecs import ZstdCodec

    return _create(group, key, shape, dtype, (min(shape[0], 16_384), *shape[1:]), ZstdCodec())


def create_pictures(group: Any, key: str, shape: tuple[int, ...]) -> Any:
    """A new array for pictures [N, H, W, C] of bytes, in chunks that windows want."""
    from zarr.codecs import BloscCodec

    compressor = BloscCodec(cname="zstd", clevel=3, shuffle="noshuffle")
    return _create(group, key, shape, np.uint8, (CHUNK_STEPS, *shape[1:]), compressor)


def _create(group: Any, key: str, shape: tuple[int, ...], dtype: Any, chunks: tuple[int, ...], compressor: Any) -> Any:
    """Every chunk is written, also one of zeros, and ends in its checksum."""
    from zarr.codecs import Crc32cCodec

    return group.create_array(
        key,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=(compressor, Crc32cCodec()),
        fill_value=0,
        config={"write_empty_chunks": True},
    )


def seal(path: Path, group: Any) -> None:
    """Records the hash of a store's metadata in it, when all else is written."""
    group.attrs[CHECKSUM] = digest(path, CHECKSUM)
