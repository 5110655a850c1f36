"""Training data from files in robomimic's layout."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np

from isd_core.support import hdf5_groups
from isd_core.support.errors import InputError
from isd_core.support.hdf5_groups import is_hdf5, number
from isd_core.support.registry import register
from isd_envs.demonstrations import hdf5
from isd_envs.demonstrations.hdf5 import DemonstrationFile
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.reader import ACTIONS, Description, Reader, ReadOptions, finite
from isd_policy.data.rows import RowsOnDisk, fits_in_memory

PICTURE_NDIM = 4


@register("reader", "robomimic")
@dataclass(frozen=True)
class Robomimic(Reader):
    """robomimic's layout, and robosuite's own: `data/<demonstration>/{actions, states, obs/<key>}`, `mask/<list>`."""

    kind: ClassVar[str] = "robomimic HDF5"

    def read(self, path: Path, options: ReadOptions) -> Demonstrations:
        """Raises `InputError` that names file, demonstration and key: no HDF5, truncated, a missing key or mask, an
        empty demonstration, lengths or sizes that differ, NaN.
        """
        with hdf5.opened(path, options.external) as file:
            keys = tuple(file.keys(file.names[0], "obs")) if options.observation_keys is None else None
            if keys == ():
                raise InputError(
                    f"{path} has no observations (data/<demonstration>/obs): a recording of states alone. "
                    "isd_envs.observe makes them."
                )
            chosen = options.observation_keys if keys is None else keys
            assert chosen is not None
            return _Reader(file, chosen, options.action_key).read(options.filter_key, options.pictures)

    def describe(self, path: Path, external: bool = False) -> Description:
        with hdf5.opened(path, external) as file:
            first = file.names[0]
            observations = {key: _array(file, first, f"obs/{key}").shape[1:] for key in file.keys(first, "obs")}
            actions = {key: _array(file, first, key).shape for key in file.keys(first) if key.startswith(ACTIONS)}
            steps = [file.find(name, ACTIONS) for name in file.names]
            return Description(
                path=path,
                kind=self.kind,
                lengths=np.array([0 if found is None else len(found) for found in steps]),
                names=file.names,
                observations={key: shape or (1,) for key, shape in observations.items()},
                actions={key: shape[1] for key, shape in actions.items() if len(shape) == 2},
                masks={key: file.mask(key) for key in file.filter_keys},
                env_args=file.env_args if file.says_environment else None,
                external=external,
                states=all(file.find(name, "states") is not None for name in file.names),
            )

    def recognises(self, path: Path, external: bool = False) -> bool:
        if not path.is_file() or not is_hdf5(path):
            return False
        try:
            with hdf5_groups.opened(path, external) as file:
                data = file.member("data")
                return isinstance(data, h5py.Group) and (not len(data) or any(map(partial(_may_be_group, data), data)))
        except InputError:
            return True  # reading it says what is wrong


def _may_be_group(parent: h5py.Group, name: str) -> bool:
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        return True
    return bool(parent.get(name, getclass=True) is h5py.Group)


def _array(file: DemonstrationFile, name: str, key: str) -> h5py.Dataset:
    node = file.find(name, key)
    assert node is not None
    return node


class _Reader:
    def __init__(self, file: DemonstrationFile, observation_keys: tuple[str, ...], action_key: str) -> None:
        self.file, self.path = file, file.path
        self.observation_keys, self.action_key = observation_keys, action_key

    def read(self, filter_key: str | None, pictures: str) -> Demonstrations:
        names = self._names(filter_key)
        actions = [self._actions(name) for name in names]
        self._check_sizes(self.action_key, names, [values.shape[1:] for values in actions])
        lengths = np.array([len(values) for values in actions])
        return Demonstrations(
            observations={key: self._observation(names, lengths, key, pictures) for key in self.observation_keys},
            actions=np.concatenate(actions),
            lengths=lengths,
            names=tuple(names),
            env_args=self.file.env_args if self.file.says_environment else None,
            source=str(self.path),
        )

    def _names(self, filter_key: str | None) -> Sequence[str]:
        if filter_key is None:
            return self.file.names
        names = self.file.mask(str(filter_key))
        if not names:
            raise InputError(
                f"{self.path}: the filter key `{filter_key}` lists no demonstration; choose another or null."
            )
        if absent := sorted(set(names) - set(self.file.names), key=number):
            raise InputError(
                f"{self.path}: the filter key `{filter_key}` lists `{absent[0]}`, which is not under `data`. The file "
                "is incomplete or its mask is of another file."
            )
        return sorted(names, key=number)

    def _actions(self, name: str) -> np.ndarray:
        """[L, Da] float32."""
        actions = self._numbers(self._node(name, self.action_key), name, self.action_key)
        if not len(actions):
            raise InputError(
                f"{self.path}: data/{name}/{self.action_key} is empty; remove the demonstration or mask it out."
            )
        stated = self.file.steps_stated(name)
        if stated not in (None, len(actions)):
            raise InputError(
                f"{self.path}: data/{name} says num_samples = {stated}, but its {self.action_key} have "
                f"{len(actions)} steps. The file is inconsistent; convert or download it again."
            )
        return actions

    def _observation(self, names: Sequence[str], lengths: np.ndarray, key: str, pictures: str) -> Rows:
        """One observation of all demonstrations: [N, d] float32, or pictures [N, H, W, C]."""
        nodes = [self._node(name, f"obs/{key}") for name in names]
        self._check_sizes(key, names, [node.shape[1:] for node in nodes])
        for name, node, length in zip(names, nodes, lengths, strict=True):
            if not len(node.shape) or len(node) != length:
                raise InputError(
                    f"{self.path}: data/{name}/obs/{key} has {node.shape[0] if node.shape else 0} steps and "
                    f"{self.action_key} has {length}; they must be equal."
                )
        if nodes[0].ndim == PICTURE_NDIM and nodes[0].dtype == np.uint8:
            return self._pictures(names, f"obs/{key}", nodes, lengths, pictures)
        return np.concatenate(
            [self._numbers(node, name, f"obs/{key}") for name, node in zip(names, nodes, strict=True)]
        )

    def _pictures(
        self, names: Sequence[str], key: str, nodes: Sequence[h5py.Dataset], lengths: np.ndarray, place: str
    ) -> Rows:
        shape = (int(lengths.sum()), *nodes[0].shape[1:])
        if fits_in_memory(int(np.prod(shape)), place):
            out, ends = np.empty(shape, np.uint8), np.cumsum(lengths)
            for node, end in zip(nodes, ends.tolist(), strict=True):
                node.read_direct(out, dest_sel=np.s_[end - len(node) : end])
            return out
        return RowsOnDisk(_HDF5Rows(self.path, names, key, lengths, self.file.external), shape)

    def _node(self, name: str, key: str) -> h5py.Dataset:
        node = self.file.find(name, key)
        if node is None:
            observed = key.startswith("obs/")
            known = ", ".join(self.file.keys(name, "obs" if observed else "")) or "nothing"
            option = "dataset.observation_keys" if observed else "dataset.action_key"
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
        return finite(values[:, None] if values.ndim == 1 else values, f"{self.path}: data/{name}/{key}")

    def _check_sizes(self, key: str, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> None:
        for name, shape in zip(names, shapes, strict=True):
            if shape != shapes[0]:
                raise InputError(
                    f"{self.path}: `{key}` has shape {list(shapes[0])} a step in {names[0]} and {list(shape)} in "
                    f"{name}; all demonstrations of a file must agree."
                )


class _HDF5Rows:
    """Reads rows of one observation, counted over the demonstrations. The process that reads opens the file, and looks
    at its links again: by then it may be another file.
    """

    def __init__(self, path: Path, names: Sequence[str], key: str, lengths: np.ndarray, external: bool) -> None:
        self.path, self.names, self.key, self.external = path, names, key, external
        self._ends = np.cumsum(lengths)
        self._nodes: dict[int, h5py.Dataset] = {}
        self._file: DemonstrationFile | None = None
        self._open = ExitStack()

    def __call__(self, first: int, end: int) -> np.ndarray:
        episode = int(np.searchsorted(self._ends, first, side="right"))
        before = self._ends[episode - 1] if episode else 0
        try:
            values: np.ndarray = self._node(episode)[first - before : end - before]
        except (OSError, RuntimeError) as error:
            raise InputError(hdf5_groups.failure(self.path, error)) from error
        return values

    def _node(self, episode: int) -> h5py.Dataset:
        if self._file is None:
            self._file = self._open.enter_context(hdf5.opened(self.path, self.external))
        if episode not in self._nodes:
            node = self._file.find(self.names[episode], self.key)
            if node is None:
                raise InputError(
                    f"{self.path}: data/{self.names[episode]}/{self.key} is gone since the training began."
                )
            self._nodes[episode] = node
        return self._nodes[episode]
