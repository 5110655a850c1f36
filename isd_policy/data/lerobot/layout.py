"""Where a LeRobot data set keeps its episodes: `meta/info.json` and what it points to.

v3.0 joins many episodes in a parquet file and in an MP4 of each camera; `meta/episodes/*/*.parquet` says which lies
where. v2.1 has a parquet file and an MP4 for every episode, listed in `meta/episodes.jsonl`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError

INFO = "meta/info.json"
ORIGIN = "meta/isd.json"
"""What this package adds to the sets that it writes: the environment, and of what keys `observation.state` was joined.
LeRobot passes over it.
"""
VERSIONS = ("v3.0", "v2.1")
FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
"""A field of a path's template, `{chunk_index:03d}`."""
CAMERAS = ("video", "image")


@dataclass(frozen=True)
class Episode:
    """One episode. data: its parquet file; videos: camera -> (MP4, second at which the episode begins in it)."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    videos: Mapping[str, tuple[Path, float]]


@dataclass(frozen=True)
class Layout:
    """A data set. features: as `meta/info.json` has them, by LeRobot's names. parts: key -> how many numbers of
    `observation.state` it is, where this package joined them.
    """

    root: Path
    version: str
    fps: float
    features: Mapping[str, Mapping[str, Any]]
    splits: Mapping[str, str]
    episodes: tuple[Episode, ...]
    env_args: dict[str, Any] | None
    parts: Mapping[str, int]

    @classmethod
    def open(cls, root: Path, external: bool = False) -> Layout:
        """external: whether files may lie outside the folder, behind symbolic links.

        Raises `InputError` for another version, for metadata that is missing or damaged, and for a path that leads out.
        """
        info = _json(root / INFO)
        version = str(info.get("codebase_version"))
        if version not in VERSIONS:
            raise InputError(
                f"{root} is a LeRobot data set of version {version}; {' and '.join(VERSIONS)} are read. Convert it by "
                "LeRobot's own scripts."
            )
        fps, features = info.get("fps"), info.get("features")
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not fps > 0:
            raise InputError(f"{root / INFO} says fps={fps!r}; expected frames a second, above 0.")
        if not isinstance(features, dict) or not all(isinstance(entry, dict) for entry in features.values()):
            raise InputError(f"{root / INFO} has no features by name.")
        cameras = [key for key, entry in features.items() if entry.get("dtype") == "video"]
        found = _v3(root, info, cameras) if version == "v3.0" else _v21(root, info, cameras)
        try:
            episodes = tuple(sorted(found, key=lambda episode: episode.index))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{root}: its episodes are not described as in {version} ({error!r}).") from error
        if not episodes:
            raise InputError(f"{root} has no episodes.")
        for episode in episodes:
            if episode.length < 1:
                raise InputError(f"{root}: episode {episode.index} has no steps. Remove it from the data set.")
            for file in (episode.data, *(video for video, _ in episode.videos.values())):
                _check_inside(root, file, external)
        origin = _json(root / ORIGIN) if (root / ORIGIN).is_file() else {}
        splits = info.get("splits")
        return cls(
            root,
            version,
            float(fps),
            features,
            splits if isinstance(splits, dict) else {},
            episodes,
            origin.get("env_args"),
            _parts(root, origin, features),
        )

    @property
    def masks(self) -> dict[str, tuple[int, ...]]:
        """Lists of episodes: the splits of the set, and the episodes of each task where there are several."""
        indices = [episode.index for episode in self.episodes]
        found: dict[str, tuple[int, ...]] = {}
        for name, text in self.splits.items():
            if match := re.fullmatch(r"(\d+):(\d+)", str(text)):
                found[str(name)] = tuple(i for i in indices if int(match[1]) <= i < int(match[2]))
        tasks = dict.fromkeys(task for episode in self.episodes for task in episode.tasks)
        if len(tasks) > 1:
            for task in tasks:
                found[task] = tuple(episode.index for episode in self.episodes if task in episode.tasks)
        return found


def tables() -> Any:
    """pyarrow's module of parquet files; `InputError` without it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"LeRobot's data sets need the package pyarrow ({error}): pip install 'isd-flow[lerobot-data]'."
        ) from error
    return pyarrow.parquet


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    """A parquet file; `InputError` where it is missing, damaged, or lacks a column."""
    if not path.is_file():
        raise InputError(f"{path} is missing. Copy the data set again.")
    parquet = tables()
    try:
        file = parquet.ParquetFile(path)
        if absent := [name for name in columns or () if name not in file.schema_arrow.names]:
            raise InputError(
                f"{path} has no column {absent[0]}; it has {', '.join(file.schema_arrow.names)}. The data set is not "
                "what its meta/info.json says."
            )
        return file.read(columns=columns)
    except (OSError, ValueError) as error:  # pyarrow's errors are both
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}). Copy it again.") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); a LeRobot data set has one. Copy it again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no fields by name.")
    return found


def _parts(root: Path, origin: Mapping[str, Any], features: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    parts = origin.get("state") or {}
    try:
        sizes = {str(key): int(size) for key, size in parts.items()}
        if not sizes or [sum(sizes.values())] == list(features["observation.state"]["shape"]):
            return sizes
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise InputError(
        f"{root / ORIGIN} says that observation.state is {parts}, which does not fit its shape in {INFO}. Copy the set "
        "again, or remove the file: then it is read as `state`."
    )


def _filled(template: Any, **values: Any) -> str:
    """A path's template with its fields filled; no other format of Python is understood."""

    def fill(match: re.Match[str]) -> str:
        value = values[match[1]]
        return f"{value:0{int(match[2])}d}" if match[2] else str(value)

    return FIELD.sub(fill, str(template))


def _v3(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[Episode]:
    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise InputError(f"{root} has no meta/episodes/*/*.parquet, where v3.0 describes its episodes. Copy it again.")
    columns = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index"]
    for camera in cameras:
        columns += [f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    for file in files:
        for row in read_table(file, columns).to_pylist():
            yield Episode(
                index=int(row["episode_index"]),
                length=int(row["length"]),
                tasks=tuple(map(str, row["tasks"] or ())),
                data=root / _filled(info["data_path"], **_place(row, "data")),
                videos={
                    camera: (
                        root / _filled(info["video_path"], video_key=camera, **_place(row, f"videos/{camera}")),
                        float(row[f"videos/{camera}/from_timestamp"]),
                    )
                    for camera in cameras
                },
            )


def _place(row: Mapping[str, Any], of: str) -> dict[str, int]:
    return {name: int(row[f"{of}/{name}"]) for name in ("chunk_index", "file_index")}


def _v21(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[Episode]:
    listing = root / "meta" / "episodes.jsonl"
    try:
        rows = [json.loads(line) for line in listing.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{listing} cannot be read ({error}). Copy the data set again.") from error
    for row in rows:
        index = int(row["episode_index"])
        place = {"episode_chunk": index // int(info["chunks_size"]), "episode_index": index}
        yield Episode(
            index=index,
            length=int(row["length"]),
            tasks=tuple(map(str, row.get("tasks") or ())),
            data=root / _filled(info["data_path"], **place),
            videos={camera: (root / _filled(info["video_path"], video_key=camera, **place), 0.0) for camera in cameras},
        )


def _check_inside(root: Path, file: Path, external: bool) -> None:
    """A file named by the metadata lies in the folder, also behind its links unless those are allowed."""
    within = file.resolve().is_relative_to(root.resolve())
    if ".." in file.relative_to(root).parts if file.is_relative_to(root) else True:
        raise InputError(f"{root}: its metadata names the file {file}, which is not in the data set.")
    if not within and not external:
        raise InputError(
            f"{root}: {file.relative_to(root)} is a link to {file.resolve()}. A data set may not take data from other "
            "places. Where you trust it, a training allows that by dataset.external=true, inspect and convert by "
            "external=true."
        )
