"""Demonstrations written as a LeRobot data set v3.0."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_core.support.progress import Progress
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.lerobot import layout
from isd_policy.data.lerobot.features import ACTION, STATE, features_of
from isd_policy.data.lerobot.video import VideoWriter, encoded
from isd_policy.data.reader import ACTIONS

EPISODES_PER_FILE = 50
"""Episodes of an MP4 and of a parquet file."""
SAMPLED = 100
"""Pictures of each episode, at most, that the statistics of pictures take."""
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
INDEX = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


def write(
    out: Path,
    demonstrations: Demonstrations,
    *,
    task: str,
    robot_type: str | None = None,
    pictures: str = "video",
    codec: str = "h264",
) -> None:
    """Writes a new data set `out` that LeRobot's own reader opens.

    Numbers that are not the key `state` are features of their own, `observation.<key>`; without that key all numbers
    together are `observation.state`, which LeRobot's policies look for. task: what the episodes show, in words.
    robot_type: as LeRobot calls the robot. pictures: `video` (MP4, lossy) or `image` (PNG in the parquet files).
    codec: of the videos, `h264` or `av1`. Raises `InputError` when `out` exists, without a rate, and for a picture that
    has no three colours.
    """
    if out.exists():
        raise InputError(f"{out} exists already; remove it, or choose another out=.")
    if demonstrations.rate is None:
        raise InputError(
            f"{demonstrations.source} does not say how many steps a second it has, which LeRobot's sets do: give "
            "rate=HZ."
        )
    if pictures not in ("video", "image"):
        raise InputError(f"pictures={pictures}: expected video or image.")
    layout.tables()
    with atomic_write(out) as temporary, Progress(len(demonstrations), "lerobot", "episode") as progress:
        _Writer(temporary, demonstrations, task, robot_type, pictures, codec).write(progress)


class _Writer:
    def __init__(
        self, out: Path, data: Demonstrations, task: str, robot_type: str | None, pictures: str, codec: str
    ) -> None:
        assert data.rate is not None
        self.out, self.data, self.task, self.robot_type = out, data, task, robot_type
        self.pictures, self.codec, self.fps = pictures, codec, data.rate
        self.ends = np.cumsum(data.lengths).tolist()
        self.begins = [0, *self.ends[:-1]]
        self.keys = features_of(data.schema)
        self.cameras: dict[str, Rows] = {
            feature: data.observations[keys[0]]
            for feature, keys in self.keys.items()
            if keys[0] in data.schema.pictures
        }
        self.numbers = self._numbers()
        for camera, rows in self.cameras.items():
            if rows.shape[-1] != 3:
                raise InputError(f"{data.source}: {camera} has {rows.shape[-1]} channels; LeRobot's pictures have 3.")

    def _numbers(self) -> dict[str, np.ndarray]:
        """Features -> their numbers, [N, d] float32."""
        found = {
            feature: np.concatenate([np.asarray(self.data.observations[key]) for key in keys], axis=1)
            for feature, keys in self.keys.items()
            if feature not in self.cameras
        }
        return {**found, ACTION: self.data.actions}

    def _names(self, feature: str) -> list[str]:
        """The names of a feature's numbers."""
        keys = [ACTIONS] if feature == ACTION else self.keys[feature]
        names: list[str] = []
        for key in keys:
            size = self.data.actions.shape[1] if key == ACTIONS else self.data.schema.shapes[key][0]
            numbered = [f"{key}_{i}" if size > 1 else key for i in range(size)]
            names += list(self.data.labels.get(key) or numbered)
        return names

    def write(self, progress: Progress) -> None:
        import pyarrow as pa

        episodes: list[dict[str, Any]] = []
        totals: dict[str, list[dict[str, Any]]] = {}
        for first in range(0, len(self.data), EPISODES_PER_FILE):
            file = first // EPISODES_PER_FILE
            place = {"chunk_index": file // 1000, "file_index": file % 1000}
            numbers = range(first, min(first + EPISODES_PER_FILE, len(self.data)))
            images = {camera: self._camera(camera, numbers, place) for camera in self.cameras}
            self._table(numbers, images).to_file(self.out / DATA.format(**place))
            for number in numbers:
                row = self._episode(number, numbers, place)
                stats = self._stats(number)
                for feature, values in stats.items():
                    totals.setdefault(feature, []).append(values)
                    row |= {f"stats/{feature}/{name}": np.asarray(value).tolist() for name, value in values.items()}
                episodes.append(row)
                progress.update(1)
        path = self.out / EPISODES
        path.parent.mkdir(parents=True, exist_ok=True)
        layout.tables().write_table(pa.Table.from_pylist(episodes), path)
        self._write_tasks()
        merged = {feature: _merged(parts) for feature, parts in totals.items()}
        self._json("meta/stats.json", merged)
        self._json(layout.INFO, self._info())
        sizes = {key: self.data.schema.shapes[key][0] for key in self.data.schema.numbers}
        parts = {} if STATE in sizes else sizes
        self._json(layout.ORIGIN, {"env_args": self.data.env_args, STATE: parts})

    # -- files --------------------------------------------------------------------------------------------------------

    def _json(self, name: str, content: Mapping[str, Any]) -> None:
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=4) + "\n")

    def _table(self, numbers: range, images: Mapping[str, list[bytes] | None]) -> _Table:
        begin, end = self.begins[numbers[0]], self.ends[numbers[-1]]
        lengths = self.data.lengths[numbers[0] : numbers[-1] + 1]
        frame = np.concatenate([np.arange(length) for length in lengths])
        index = {
            "timestamp": (frame / self.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.repeat(np.arange(numbers[0], numbers[-1] + 1), lengths),
            "index": np.arange(begin, end),
            "task_index": np.zeros(end - begin, np.int64),
        }
        values = {feature: rows[begin:end] for feature, rows in self.numbers.items()}
        return _Table(values, index, {key: files for key, files in images.items() if files is not None})

    def _camera(self, camera: str, numbers: range, place: Mapping[str, int]) -> list[bytes] | None:
        """Writes the video of some episodes, or gives their pictures as files."""
        rows = self.cameras[camera]
        episodes = (_rows(rows, self.begins[number], self.ends[number]) for number in numbers)
        if self.pictures == "image":
            return [encoded(picture) for pictures in episodes for picture in pictures]
        path = self.out / VIDEO.format(video_key=camera, **place)
        writer = VideoWriter(path, self.fps, rows.shape[1], rows.shape[2], self.codec)
        for pictures in episodes:
            for picture in pictures:
                writer.write(picture)
        writer.close()
        return None

    def _episode(self, number: int, numbers: range, place: Mapping[str, int]) -> dict[str, Any]:
        """The row of an episode in the metadata, without its statistics."""
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [self.task],
            "length": int(self.data.lengths[number]),
            "data/chunk_index": place["chunk_index"],
            "data/file_index": place["file_index"],
            "dataset_from_index": self.begins[number],
            "dataset_to_index": self.ends[number],
        }
        if self.pictures == "video":
            before = self.begins[number] - self.begins[numbers[0]]
            for camera in self.cameras:
                row |= {
                    f"videos/{camera}/chunk_index": place["chunk_index"],
                    f"videos/{camera}/file_index": place["file_index"],
                    f"videos/{camera}/from_timestamp": before / self.fps,
                    f"videos/{camera}/to_timestamp": (before + row["length"]) / self.fps,
                }
        return row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}

    def _write_tasks(self) -> None:
        """A table that pandas reads with the task as its index, as LeRobot has it."""
        import pyarrow as pa

        columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
        described = [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
            for name, kind, numpy in columns
        ]
        pandas = {"index_columns": ["task"], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
        table = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([self.task], pa.string())})
        layout.tables().write_table(
            table.replace_schema_metadata({"pandas": json.dumps(pandas)}), self.out / "meta" / "tasks.parquet"
        )

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {
            feature: {"dtype": "float32", "shape": [rows.shape[1]], "names": self._names(feature)}
            for feature, rows in self.numbers.items()
        }
        for camera, rows in self.cameras.items():
            features[camera] = {
                "dtype": self.pictures,
                "shape": list(rows.shape[1:]),
                "names": ["height", "width", "channels"],
            }
            if self.pictures == "video":
                features[camera]["info"] = {
                    "video.height": rows.shape[1],
                    "video.width": rows.shape[2],
                    "video.codec": self.codec,
                    "video.fps": self._fps,
                    "video.channels": 3,
                    "has_audio": False,
                    "is_depth_map": False,
                }
        features |= {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in INDEX.items()}
        return {
            "codebase_version": "v3.0",
            "fps": self._fps,
            "features": features,
            "total_episodes": len(self.data),
            "total_frames": len(self.data.actions),
            "total_tasks": 1,
            "chunks_size": 1000,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "data_path": DATA,
            "video_path": VIDEO if self.cameras and self.pictures == "video" else None,
            "robot_type": self.robot_type,
            "splits": {"train": f"0:{len(self.data)}"},
        }

    @property
    def _fps(self) -> float | int:
        return int(self.fps) if float(self.fps).is_integer() else self.fps

    # -- statistics ---------------------------------------------------------------------------------------------------

    def _stats(self, number: int) -> dict[str, dict[str, Any]]:
        begin, end = self.begins[number], self.ends[number]
        found = {feature: _of_numbers(rows[begin:end]) for feature, rows in self.numbers.items()}
        for camera, rows in self.cameras.items():
            chosen = np.unique(np.linspace(begin, end - 1, min(SAMPLED, end - begin)).round().astype(np.int64))
            found[camera] = _of_pictures(np.concatenate([_rows(rows, i, i + 1) for i in chosen.tolist()]))
        return found


class _Table:
    """A parquet file of steps."""

    def __init__(
        self, numbers: Mapping[str, np.ndarray], index: Mapping[str, np.ndarray], images: Mapping[str, list[bytes]]
    ) -> None:
        self.numbers, self.index, self.images = numbers, index, images

    def to_file(self, path: Path) -> None:
        """Numbers are lists of a fixed length, and plain where there is one a step; pictures are PNG files."""
        import pyarrow as pa

        columns: dict[str, Any] = {}
        for feature, rows in self.numbers.items():
            flat = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
            columns[feature] = flat if rows.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
        for feature, files in self.images.items():
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            columns[feature] = pa.array([{"bytes": data, "path": None} for data in files], kind)
        columns |= {name: pa.array(values, getattr(pa, INDEX[name])()) for name, values in self.index.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        layout.tables().write_table(pa.table(columns), path)


def _rows(rows: Rows, begin: int, end: int) -> np.ndarray:
    """Steps [begin, end), which lie in one episode."""
    return rows[np.arange(begin, end)[None]][0]


def _of_numbers(values: np.ndarray) -> dict[str, Any]:
    values = np.asarray(values, np.float64)
    found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    found |= {name: np.quantile(values, share, axis=0) for name, share in QUANTILES.items()}
    return {"count": [len(values)], **found}


def _of_pictures(values: np.ndarray) -> dict[str, Any]:
    """Statistics of each colour, from 0 to 1, in the shape [3, 1, 1]."""
    stats = _of_numbers(values.reshape(-1, values.shape[-1]) / 255)
    shaped = {name: np.asarray(value)[:, None, None] for name, value in stats.items() if name != "count"}
    return {"count": [len(values)], **shaped}


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Statistics of all episodes from those of each; quantiles are the means of the episodes', as LeRobot has them."""
    counts = np.array([part["count"][0] for part in parts], np.float64)
    weights = (counts / counts.sum()).reshape(-1, *[1] * np.ndim(parts[0]["mean"]))
    stacked = {name: np.stack([np.asarray(part[name]) for part in parts]) for name in parts[0] if name != "count"}
    mean = (weights * stacked["mean"]).sum(0)
    variance = (weights * (stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2)).sum(0)
    found = {"min": stacked["min"].min(0), "max": stacked["max"].max(0), "mean": mean, "std": np.sqrt(variance)}
    found |= {name: (weights * stacked[name]).sum(0) for name in QUANTILES}
    return {**{name: value.tolist() for name, value in found.items()}, "count": [int(counts.sum())]}
