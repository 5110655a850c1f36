"""robomimic's HDF5 layout: data/<demo>/{actions, obs/<key>}, data.attrs["env_args"], mask/<filter key>."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isd_core.support.errors import InputError
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.rows import RowsOnDisk, fits_in_memory

PICTURE_NDIM = 4


def read(
    path: str | Path,
    observation_keys: Sequence[str],
    action_key: str = "actions",
    filter_key: str | None = None,
    pictures: str = "auto",
) -> Demonstrations:
    """Reads the observations and the actions of a robomimic file.

    filter_key: a list of demonstrations under `mask/`, e.g. `train`; all of them when None. pictures: where pictures
    are held, `memory`, `disk`, or `auto` by their size.
    Raises `InputError` that names file, demonstration and key: no HDF5, truncated, a missing key or mask, an empty
    demonstration, lengths or sizes that differ, NaN.
    """
    with opened(Path(path)) as file:
        return _Reader(file, Path(path), tuple(observation_keys), action_key).read(filter_key, pictures)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, for reading. Raises `InputError` where it is absent, no HDF5, or ends too early."""
    if not path.is_file():
        raise InputError(
            f"There is no file {path}. Give data=FILE, a robomimic HDF5 file or a zarr store; envs.demos makes one."
        )
    try:
        if not h5py.is_hdf5(path):
            raise InputError(f"{path} is not an HDF5 file; expected a robomimic dataset (data/demo_*/actions, obs/*).")
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be read to its end and is probably truncated or damaged ({error}). Copy or generate it "
            "again."
        ) from error


def mask(file: h5py.File, filter_key: str) -> tuple[str, ...]:
    """The demonstrations that a filter key lists."""
    values = np.atleast_1d(file["mask"][filter_key][()])
    return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)


def number(name: str) -> tuple[int, str]:
    """Sorts demo_2 before demo_10."""
    digits = re.search(r"(\d+)$", name)
    return (int(digits[1]) if digits else -1, name)


class _Reader:
    def __init__(self, file: h5py.File, path: Path, observation_keys: tuple[str, ...], action_key: str) -> None:
        self.file, self.path = file, path
        self.observation_keys, self.action_key = observation_keys, action_key

    def read(self, filter_key: str | None, pictures: str) -> Demonstrations:
        data = self.file.get("data")
        if not isinstance(data, h5py.Group):
            raise InputError(
                f"{self.path} has no group `data`; expected robomimic's layout (data/demo_*/actions, obs/*)."
            )
        names = self._names(data, filter_key)
        actions = [self._actions(data[name], name) for name in names]
        self._check_sizes(self.action_key, names, [values.shape[1:] for values in actions])
        lengths = np.array([len(values) for values in actions])
        return Demonstrations(
            observations={key: self._observation(data, names, lengths, key, pictures) for key in self.observation_keys},
            actions=np.concatenate(actions),
            lengths=lengths,
            names=tuple(names),
            env_args=self._env_args(data),
            source=str(self.path),
        )

    def _names(self, data: h5py.Group, filter_key: str | None) -> list[str]:
        present = [name for name in data if isinstance(data[name], h5py.Group)]
        if not present:
            raise InputError(f"{self.path} holds no demonstrations: its group `data` is empty.")
        if filter_key is None:
            return sorted(present, key=number)
        masks = self.file.get("mask", {})
        if filter_key not in masks:
            known = ", ".join(sorted(masks)) or "none"
            raise InputError(
                f"{self.path} has no filter key `{filter_key}` under `mask` (it has: {known}). Set dataset.filter_key "
                "to one of them, or to null for all demonstrations."
            )
        names = mask(self.file, filter_key)
        if not names:
            raise InputError(
                f"{self.path}: the filter key `{filter_key}` lists no demonstration; choose another or null."
            )
        if absent := sorted(set(names) - set(present), key=number):
            raise InputError(
                f"{self.path}: the filter key `{filter_key}` lists `{absent[0]}`, which is not under `data`. The file "
                "is incomplete or its mask is of another file."
            )
        return sorted(names, key=number)

    def _actions(self, demo: h5py.Group, name: str) -> np.ndarray:
        """[L, Da] float32."""
        actions = self._numbers(self._node(demo, name, self.action_key), name, self.action_key)
        if not len(actions):
            raise InputError(
                f"{self.path}: data/{name}/{self.action_key} is empty; remove the demonstration or mask it out."
            )
        stated = demo.attrs.get("num_samples", len(actions))
        if int(stated) != len(actions):
            raise InputError(
                f"{self.path}: data/{name} says num_samples = {int(stated)}, but its {self.action_key} have "
                f"{len(actions)} steps. The file is inconsistent; convert or download it again."
            )
        return actions

    def _observation(
        self, data: h5py.Group, names: Sequence[str], lengths: np.ndarray, key: str, pictures: str
    ) -> Rows:
        """One observation of all demonstrations: [N, d] float32, or pictures [N, H, W, C]."""
        nodes = [self._node(data[name], name, f"obs/{key}") for name in names]
        self._check_sizes(key, names, [node.shape[1:] for node in nodes])
        for name, node, length in zip(names, nodes, lengths, strict=True):
            if not len(node.shape) or len(node) != length:
                raise InputError(
                    f"{self.path}: data/{name}/obs/{key} has {node.shape[0] if node.shape else 0} steps and "
                    f"{self.action_key} has {length}; they must be equal."
                )
        if nodes[0].ndim == PICTURE_NDIM and nodes[0].dtype == np.uint8:
            return self._pictures(nodes, lengths, pictures)
        return np.concatenate(
            [self._numbers(node, name, f"obs/{key}") for name, node in zip(names, nodes, strict=True)]
        )

    def _pictures(self, nodes: Sequence[h5py.Dataset], lengths: np.ndarray, place: str) -> Rows:
        shape = (int(lengths.sum()), *nodes[0].shape[1:])
        if fits_in_memory(int(np.prod(shape)), place):
            out, ends = np.empty(shape, np.uint8), np.cumsum(lengths)
            for node, end in zip(nodes, ends.tolist(), strict=True):
                node.read_direct(out, dest_sel=np.s_[end - len(node) : end])
            return out
        return RowsOnDisk(_HDF5Rows(self.path, [node.name for node in nodes], lengths), shape)

    def _node(self, demo: h5py.Group, name: str, key: str) -> h5py.Dataset:
        node = demo.get(key)
        if not isinstance(node, h5py.Dataset):
            parent = demo.get("obs", {}) if key.startswith("obs/") else demo
            known = ", ".join(sorted(key for key in parent if isinstance(parent[key], h5py.Dataset))) or "nothing"
            option = "dataset.observation_keys" if key.startswith("obs/") else "dataset.action_key"
            raise InputError(
                f"{self.path}: data/{name} has no `{key}`; there is: {known}. Set {option} to what the file has."
            )
        return node

    def _numbers(self, node: h5py.Dataset, name: str, key: str) -> np.ndarray:
        """The numbers of one demonstration as [L, d] float32."""
        if node.ndim not in (1, 2) or node.dtype.kind not in "fiub":
            raise InputError(
                f"{self.path}: data/{name}/{key} has shape {node.shape} and type {node.dtype}; expected numbers "
                "[steps] or [steps, size], or pictures of bytes [steps, height, width, channels]."
            )
        values = node[()].astype(np.float32)
        values = values[:, None] if values.ndim == 1 else values
        if not np.isfinite(values).all():
            step, column = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"{self.path}: data/{name}/{key} holds {values[step, column]} at step {step}, column {column}; remove "
                "or repair the demonstration."
            )
        return values

    def _check_sizes(self, key: str, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> None:
        for name, shape in zip(names, shapes, strict=True):
            if shape != shapes[0]:
                raise InputError(
                    f"{self.path}: `{key}` has shape {list(shapes[0])} a step in {names[0]} and {list(shape)} in "
                    f"{name}; all demonstrations of a file must agree."
                )

    def _env_args(self, data: h5py.Group) -> dict[str, Any]:
        text = data.attrs.get("env_args")
        try:
            env_args = json.loads(text)
            if isinstance(env_args, dict) and "env_name" in env_args:
                return env_args
        except (TypeError, ValueError):
            pass
        raise InputError(
            f"{self.path}: data.attrs['env_args'] is "
            f"{'missing' if text is None else 'not the JSON that robomimic writes'}; expected an object with env_name "
            "and env_kwargs, from which the environment for evaluation is built."
        )


class _HDF5Rows:
    """Reads rows of the demonstrations, counted over all of them. The file is opened by the process that reads."""

    def __init__(self, path: Path, nodes: Sequence[str], lengths: np.ndarray) -> None:
        self.path, self.nodes, self._ends = path, nodes, np.cumsum(lengths)
        self._file: h5py.File | None = None

    def __call__(self, first: int, end: int) -> np.ndarray:
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        episode = int(np.searchsorted(self._ends, first, side="right"))
        before = self._ends[episode - 1] if episode else 0
        values: np.ndarray = self._file[self.nodes[episode]][first - before : end - before]
        return values
