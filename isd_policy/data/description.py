"""What a file of demonstrations holds, without reading it whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from envs.engines.pusht.spec import PushTSpec
from envs.tasks import PUSHT
from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import is_group, open_group
from isd_policy.data import pusht, robomimic, zarr_store

ACTIONS = "actions"


@dataclass(frozen=True)
class Description:
    """kind: what wrote the file; observations: key -> shape of a step; actions: key -> size; masks: filter key ->
    names; env_args: None where the file has none that can be read.
    """

    path: Path
    kind: str
    lengths: np.ndarray
    names: tuple[str, ...]
    observations: Mapping[str, tuple[int, ...]]
    actions: Mapping[str, int]
    masks: Mapping[str, tuple[str, ...]]
    env_args: dict[str, Any] | None


def describe(path: Path) -> Description:
    """Describes a robomimic HDF5 file, a zarr store or Push-T's recording. Raises `InputError` for anything else."""
    if path.exists() and is_group(path):
        return _recording(path) if pusht.is_recording(path) else _store(path)
    with robomimic.opened(path) as file:
        return _robomimic(path, file)


def _robomimic(path: Path, file: h5py.File) -> Description:
    data = file.get("data")
    names = sorted(data, key=robomimic.number) if isinstance(data, h5py.Group) else []
    if not names:
        raise InputError(f"{path} holds no demonstrations: expected robomimic's layout (data/demo_*/actions, obs/*).")
    first = data[names[0]]
    observations = {key: node.shape[1:] for key, node in first.get("obs", {}).items() if isinstance(node, h5py.Dataset)}
    actions = {key: node.shape[1] for key, node in first.items() if key.startswith(ACTIONS) and node.ndim == 2}
    return Description(
        path=path,
        kind="robomimic HDF5",
        lengths=np.array([len(data[name][ACTIONS]) if ACTIONS in data[name] else 0 for name in names]),
        names=tuple(names),
        observations={key: shape or (1,) for key, shape in observations.items()},
        actions=actions,
        masks={key: robomimic.mask(file, key) for key in file.get("mask", {})},
        env_args=_env_args(data.attrs.get("env_args")),
    )


def _env_args(text: Any) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) and "env_name" in found else None


def _store(path: Path) -> Description:
    store = zarr_store.Store.open(path)
    shapes = {key: array.shape[1:] for key, array in store.arrays.items()}
    return Description(
        path=path,
        kind=f"zarr store ({zarr_store.FORMAT})",
        lengths=np.diff(store.ends, prepend=0),
        names=store.names,
        observations={key: shape for key, shape in shapes.items() if not key.startswith(ACTIONS)},
        actions={key: shape[0] for key, shape in shapes.items() if key.startswith(ACTIONS)},
        masks={key: tuple(names) for key, names in store.masks.items()},
        env_args=store.env_args,
    )


def _recording(path: Path) -> Description:
    group = open_group(path)
    ends = np.asarray(group["meta/episode_ends"][:])
    numbers = {key: (size,) for key, size in PUSHT.observation_sizes.items()}
    return Description(
        path=path,
        kind="Push-T recording (zarr)",
        lengths=np.diff(ends, prepend=0),
        names=tuple(f"demo_{i}" for i in range(len(ends))),
        observations=numbers | pusht.pictures_of(group),
        actions={ACTIONS: PUSHT.action_size},
        masks={},
        env_args=PushTSpec().env_args,
    )
