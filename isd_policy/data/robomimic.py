"""robomimic's HDF5 layout: data/<demo>/{actions, obs/<key>}, data.attrs["env_args"], mask/<filter key>."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isd_core.errors import InputError
from isd_policy.data.demonstrations import Demonstrations


def read(
    path: str | Path,
    observation_keys: Sequence[str],
    action_key: str = "actions",
    filter_key: str | None = None,
) -> Demonstrations:
    """Reads the low-dimensional observations and the actions of a robomimic file into memory.

    filter_key: a list of demonstrations under `mask/`, e.g. `train`; all of them when None.
    Raises `InputError` that names file, demonstration and key: no HDF5, truncated, a missing key or mask, an empty
    demonstration, lengths or sizes that differ, NaN.
    """
    path = Path(path)
    if isinstance(observation_keys, str) or not observation_keys:
        raise InputError(
            f"dataset.observation_keys={observation_keys!r}: expected a list of at least one key, as [object]."
        )
    if not path.is_file():
        raise InputError(f"There is no file {path}. Give data=FILE.hdf5, a robomimic dataset; envs.demos makes one.")
    try:
        if not h5py.is_hdf5(path):
            raise InputError(f"{path} is not an HDF5 file; expected a robomimic dataset (data/demo_*/actions, obs/*).")
        with h5py.File(path, "r") as file:
            return _Reader(file, path, tuple(observation_keys), action_key).read(filter_key)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be read to its end and is probably truncated or damaged ({error}). Copy or generate it "
            "again."
        ) from error


def _number(name: str) -> tuple[int, str]:
    """Sorts demo_2 before demo_10."""
    digits = re.search(r"(\d+)$", name)
    return (int(digits[1]) if digits else -1, name)


class _Reader:
    def __init__(self, file: h5py.File, path: Path, observation_keys: tuple[str, ...], action_key: str) -> None:
        self.file, self.path = file, path
        self.observation_keys, self.action_key = observation_keys, action_key

    def read(self, filter_key: str | None) -> Demonstrations:
        data = self.file.get("data")
        if not isinstance(data, h5py.Group):
            raise InputError(
                f"{self.path} has no group `data`; expected robomimic's layout (data/demo_*/actions, obs/*)."
            )
        names = self._names(data, filter_key)
        demos = [self._demo(data[name], name) for name in names]
        columns = list(zip(*demos, strict=True))
        for key, values in zip((self.action_key, *self.observation_keys), columns, strict=True):
            self._check_sizes(key, names, values)
        actions, *observations = (np.concatenate(values) for values in columns)
        return Demonstrations(
            observations=dict(zip(self.observation_keys, observations, strict=True)),
            actions=actions,
            lengths=np.array([len(value) for value in columns[0]]),
            names=tuple(names),
            env_args=self._env_args(data),
            source=str(self.path),
        )

    def _names(self, data: h5py.Group, filter_key: str | None) -> list[str]:
        present = [name for name in data if isinstance(data[name], h5py.Group)]
        if not present:
            raise InputError(f"{self.path} holds no demonstrations: its group `data` is empty.")
        if filter_key is None:
            return sorted(present, key=_number)
        masks = self.file.get("mask", {})
        if filter_key not in masks:
            known = ", ".join(sorted(masks)) or "none"
            raise InputError(
                f"{self.path} has no filter key `{filter_key}` under `mask` (it has: {known}). Set dataset.filter_key "
                "to one of them, or to null for all demonstrations."
            )
        names = [
            value.decode() if isinstance(value, bytes) else str(value) for value in np.atleast_1d(masks[filter_key][()])
        ]
        if not names:
            raise InputError(
                f"{self.path}: the filter key `{filter_key}` lists no demonstration; choose another or null."
            )
        if absent := sorted(set(names) - set(present), key=_number):
            raise InputError(
                f"{self.path}: the filter key `{filter_key}` lists `{absent[0]}`, which is not under `data`. The file "
                "is incomplete or its mask is of another file."
            )
        return sorted(names, key=_number)

    def _demo(self, demo: h5py.Group, name: str) -> tuple[np.ndarray, ...]:
        """Actions, then each observation, all [L, d]."""
        actions = self._array(demo, name, self.action_key)
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
        observations = [self._array(demo, name, f"obs/{key}") for key in self.observation_keys]
        for key, value in zip(self.observation_keys, observations, strict=True):
            if len(value) != len(actions):
                raise InputError(
                    f"{self.path}: data/{name}/obs/{key} has {len(value)} steps and {self.action_key} has "
                    f"{len(actions)}; they must be equal."
                )
        return (actions, *observations)

    def _array(self, demo: h5py.Group, name: str, key: str) -> np.ndarray:
        """The dataset `key` of one demonstration as [L, d] float32."""
        node = demo.get(key)
        if not isinstance(node, h5py.Dataset):
            parent = demo.get("obs", {}) if key.startswith("obs/") else demo
            known = ", ".join(sorted(key for key in parent if isinstance(parent[key], h5py.Dataset))) or "nothing"
            option = "dataset.observation_keys" if key.startswith("obs/") else "dataset.action_key"
            raise InputError(
                f"{self.path}: data/{name} has no `{key}`; there is: {known}. Set {option} to what the file has."
            )
        if node.ndim not in (1, 2) or node.dtype.kind not in "fiub":
            raise InputError(
                f"{self.path}: data/{name}/{key} has shape {node.shape} and type {node.dtype}; expected numbers "
                "[steps] or [steps, size]. This reader takes low-dimensional observations."
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

    def _check_sizes(self, key: str, names: Sequence[str], values: Sequence[np.ndarray]) -> None:
        sizes = [value.shape[1] for value in values]
        if len(set(sizes)) > 1:
            other = next(i for i, size in enumerate(sizes) if size != sizes[0])
            raise InputError(
                f"{self.path}: `{key}` has {sizes[0]} numbers a step in {names[0]} and {sizes[other]} in "
                f"{names[other]}; all demonstrations of a file must agree."
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
