"""Training data from LeRobot's data sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.registry import register
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.lerobot import layout, video
from isd_policy.data.lerobot.features import ACTION, STATE, key_of
from isd_policy.data.lerobot.layout import CAMERAS, Episode, Layout
from isd_policy.data.reader import ACTIONS, Description, Reader, ReadOptions, chosen_keys, finite
from isd_policy.data.rows import RowsOnDisk, fits_in_memory

JOINED = f"observation.{STATE}"
TIMES = ("timestamp", "frame_index", "episode_index")
LATE = 0.5
"""Of a frame: a step that is recorded farther than this from its place on the clock belongs to another rate."""


@register("reader", "lerobot")
@dataclass(frozen=True)
class LeRobot(Reader):
    """LeRobot's data sets. `observation.state` is `state` here, `observation.images.top` is `top`.

    A filter key is a split of the set, or the text of a task where there are several.
    """

    kind: ClassVar[str] = "LeRobot data set"

    def read(self, path: Path, options: ReadOptions) -> Demonstrations:
        """Raises `InputError` for missing or damaged files, keys and frames, rates that differ, episodes without steps,
        codecs without decoder, and what is not finite.
        """
        found = Layout.open(_root(path), options.external)
        if options.action_key != ACTIONS:
            raise InputError(
                f"{found.root} has one kind of actions, `{ACTION}`, so there is no `{options.action_key}`."
            )
        offered = observed(found)
        keys = chosen_keys(found.root, options, offered)
        episodes = _chosen(found, options.filter_key)
        numbers = {offered[key]: None for key in keys if found.features[offered[key]]["dtype"] not in CAMERAS}
        images = [offered[key] for key in keys if found.features[offered[key]]["dtype"] == "image"]
        columns = _columns(found, episodes, [*numbers, ACTION], images)
        lengths = np.array([episode.length for episode in episodes])
        rows: dict[str, Rows] = {}
        for key in keys:
            feature = offered[key]
            if feature in images:
                rows[key] = _pictures_of_images(found, columns[feature], feature, options.pictures)
            elif feature in numbers:
                rows[key] = columns[feature][:, _part(found, key)]
            else:
                rows[key] = _pictures_of_videos(found, episodes, feature, options.pictures)
        return Demonstrations(
            observations=rows,
            actions=columns[ACTION],
            lengths=lengths,
            names=tuple(f"episode_{episode.index:06d}" for episode in episodes),
            env_args=found.env_args,
            source=str(found.root),
            rate=found.fps,
            labels={key: names for key, names in _labels(found, offered).items() if key in (*keys, ACTIONS)},
        )

    def describe(self, path: Path, external: bool = False) -> Description:
        found = Layout.open(_root(path), external)
        names = {episode.index: f"episode_{episode.index:06d}" for episode in found.episodes}
        return Description(
            path=path,
            kind=f"{self.kind} {found.version}",
            lengths=np.array([episode.length for episode in found.episodes]),
            names=tuple(names.values()),
            observations={
                key: (found.parts[key],) if key in found.parts else _shape(found, feature)
                for key, feature in observed(found).items()
            },
            actions={ACTIONS: _shape(found, ACTION)[0]},
            masks={key: tuple(names[i] for i in chosen) for key, chosen in found.masks.items()},
            env_args=found.env_args,
            external=external,
            rate=found.fps,
            labels=_labels(found, observed(found)),
        )

    def recognises(self, path: Path, external: bool = False) -> bool:
        return (_root(path) / layout.INFO).is_file()


def _root(path: Path) -> Path:
    """The folder of a data set, which its `meta/info.json` may stand for."""
    return path.parents[1] if path.name == "info.json" and path.is_file() else path


def observed(found: Layout) -> dict[str, str]:
    """The policy's key -> the feature, for every observation that can be learned from. A state that this package joined
    is there by its parts.

    Raises `InputError` where there are no actions, or two features come by one key.
    """
    if ACTION not in found.features:
        raise InputError(f"{found.root} has no feature `{ACTION}`; it has {', '.join(found.features)}.")
    keys: dict[str, str] = {}
    for feature in found.features:
        own = key_of(feature)
        if own is None or not _learnable(found.features[feature]):
            continue
        for key in found.parts if feature == JOINED and found.parts else [own]:
            if key in keys:
                raise InputError(f"{found.root}: {keys[key]} and {feature} would both be `{key}`. Rename one of them.")
            keys[key] = feature
    return keys


def _part(found: Layout, key: str) -> slice:
    """The numbers of its feature that a key is."""
    if key not in found.parts:
        return slice(None)
    begin = sum(size for _, size in itertools.takewhile(lambda part: part[0] != key, found.parts.items()))
    return slice(begin, begin + found.parts[key])


def _learnable(entry: Mapping[str, Any]) -> bool:
    """Numbers, and pictures in colour; neither text nor depth maps."""
    dtype, about = str(entry.get("dtype")), entry.get("info") or {}
    if dtype in CAMERAS:
        return not (about.get("is_depth_map") or about.get("video.is_depth_map"))
    return dtype == "bool" or dtype.startswith(("float", "int", "uint"))


def _shape(found: Layout, feature: str) -> tuple[int, ...]:
    entry = found.features[feature]
    shape = tuple(int(size) for size in entry.get("shape") or ())
    if entry.get("dtype") in CAMERAS:
        if len(shape) != 3:
            raise InputError(f"{found.root}: {feature} has the shape {list(shape)}; expected [height, width, 3].")
        first = next(iter(entry.get("names") or ()), None)
        return (*shape[1:], shape[0]) if first in ("channels", "channel") else shape
    return (int(np.prod(shape)) if shape else 1,)


def _chosen(found: Layout, filter_key: str | None) -> list[Episode]:
    if filter_key is None:
        return list(found.episodes)
    if filter_key not in found.masks:
        raise InputError(
            f"{found.root} has no filter key `{filter_key}` (it has: {', '.join(found.masks) or 'none'}). Set "
            "dataset.filter_key to one of them, or to null for all episodes."
        )
    chosen = [episode for episode in found.episodes if episode.index in found.masks[filter_key]]
    if not chosen:
        raise InputError(f"{found.root}: the filter key `{filter_key}` lists no episode; choose another or null.")
    return chosen


# -- numbers -----------------------------------------------------------------------------------------------------------


def _columns(
    found: Layout, episodes: Sequence[Episode], numbers: Iterable[str], images: Sequence[str]
) -> dict[str, Any]:
    """Features -> their rows in the episodes: numbers [N, d] float32, and pictures as the files' bytes, [N]."""
    parts: dict[str, list[Any]] = {feature: [] for feature in (*numbers, *images)}
    files: dict[Path, Any] = {}
    for episode in episodes:
        if episode.data not in files:
            files = {episode.data: layout.read_table(episode.data, [*TIMES, *parts])}  # they lie one after another
        table = files[episode.data]
        rows = np.flatnonzero(table.column("episode_index").to_numpy() == episode.index)
        if len(rows) != episode.length:
            raise InputError(
                f"{episode.data} has {len(rows)} steps of episode {episode.index}, and the metadata says "
                f"{episode.length}. The data set is incomplete: copy it again."
            )
        part = table.take(rows)
        _check_clock(found, episode, part)
        for feature in numbers:
            parts[feature].append(_numbers(episode, feature, part.column(feature), _shape(found, feature)[0]))
        for feature in images:
            parts[feature] += [entry["bytes"] for entry in part.column(feature).to_pylist()]
    return {feature: np.concatenate(parts[feature]) for feature in numbers} | {key: parts[key] for key in images}


def _check_clock(found: Layout, episode: Episode, part: Any) -> None:
    """The steps follow each other at the rate that the set says."""
    times = part.column("timestamp").to_numpy().astype(np.float64).reshape(-1)
    off = np.abs(times - times[0] - np.arange(episode.length) / found.fps) * found.fps
    if (bad := np.flatnonzero(off > LATE)).size:
        step = int(bad[0])
        raise InputError(
            f"{episode.data}: step {step} of episode {episode.index} was recorded {times[step] - times[0]:.3f} s after "
            f"its first, and by fps={found.fps:g} of meta/info.json that is {step / found.fps:.3f} s. The set was "
            "recorded at another rate, or steps are lost: correct fps, or record it again."
        )


def _numbers(episode: Episode, feature: str, column: Any, size: int) -> np.ndarray:
    """[L, size] float32."""
    values = np.asarray(column.to_pylist(), object if not episode.length else None)
    try:
        array = values.astype(np.float32).reshape(episode.length, -1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{episode.data}: {feature} of episode {episode.index} holds no numbers ({error}).") from error
    if array.shape[1] != size:
        raise InputError(
            f"{episode.data}: {feature} has {array.shape[1]} numbers a step, and meta/info.json says {size}."
        )
    return finite(array, f"{episode.data}: {feature} of episode {episode.index}")


def _labels(found: Layout, offered: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The names of the numbers of each key and of the actions, where the set says them (a list, titled or not)."""
    labels = {}
    for key, feature in {**offered, ACTIONS: ACTION}.items():
        names = found.features[feature].get("names")
        names = next(iter(names.values()), None) if isinstance(names, dict) else names
        numbers = found.features[feature]["dtype"] not in CAMERAS
        if numbers and isinstance(names, list) and len(names) == _shape(found, feature)[0]:
            labels[key] = tuple(map(str, names))[_part(found, key)]
    return labels


# -- pictures ----------------------------------------------------------------------------------------------------------


def _pictures_of_images(found: Layout, files: Sequence[bytes], feature: str, place: str) -> Rows:
    shape = (len(files), *_shape(found, feature))

    def read(first: int, end: int) -> np.ndarray:
        rows = [video.decoded(files[i], f"{found.root}: {feature} of step {i}") for i in range(first, end)]
        return _of_shape(np.stack(rows), shape[1:], f"{found.root}: {feature}")

    return read(0, len(files)) if fits_in_memory(int(np.prod(shape)), place) else RowsOnDisk(read, shape)


def _pictures_of_videos(found: Layout, episodes: Sequence[Episode], feature: str, place: str) -> Rows:
    lengths = np.array([episode.length for episode in episodes])
    ends = np.cumsum(lengths)
    shape = (int(ends[-1]), *_shape(found, feature))

    def read(first: int, end: int) -> np.ndarray:
        """Rows of one episode."""
        number = int(np.searchsorted(ends, first, side="right"))
        path, begin = episodes[number].videos[feature]
        shift = round(begin * found.fps) - int(ends[number] - lengths[number])
        frames = video.read_frames(path, found.fps, first + shift, end - first)
        return _of_shape(frames, shape[1:], str(path))

    if not fits_in_memory(int(np.prod(shape)), place):
        for episode in episodes:
            if not episode.videos[feature][0].is_file():
                raise InputError(f"{episode.videos[feature][0]} is missing, a video of the data set. Copy it again.")
        return RowsOnDisk(read, shape)
    out = np.empty(shape, np.uint8)
    for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        out[begin:end] = read(begin, end)
    return out


def _of_shape(frames: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    if frames.shape[1:] != shape:
        raise InputError(f"{where} has pictures of {list(frames.shape[1:])}, and meta/info.json says {list(shape)}.")
    return frames
