"""What a file of demonstrations holds, without reading it whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import is_group
from isd_envs.demonstrations import hdf5
from isd_envs.demonstrations.hdf5 import DemonstrationFile
from isd_envs.demonstrations.pusht_recording import PushTRecording, is_recording
from isd_envs.engines.pusht.spec import PushTSpec
from isd_envs.tasks import PUSHT
from isd_policy.data import zarr_store

ACTIONS = "actions"


@dataclass(frozen=True)
class Description:
    """kind: what wrote the file; observations: key -> shape of a step; actions: key -> size; masks: filter key ->
    names; env_args: None where the file has none that can be read; external: whether it was allowed to take data from
    other files.
    """

    path: Path
    kind: str
    lengths: np.ndarray
    names: tuple[str, ...]
    observations: Mapping[str, tuple[int, ...]]
    actions: Mapping[str, int]
    masks: Mapping[str, tuple[str, ...]]
    env_args: dict[str, Any] | None
    external: bool = False


def describe(path: Path, external: bool = False) -> Description:
    """Describes a robomimic HDF5 file, a zarr store or Push-T's recording.

    external: whether it may take data from other files. Raises `InputError` for anything else.
    """
    if path.exists() and is_group(path):
        return _recording(path, external) if is_recording(path, external) else _store(path, external)
    with hdf5.opened(path, external) as file:
        return _robomimic(file, external)


def _robomimic(file: DemonstrationFile, external: bool) -> Description:
    first = file.names[0]
    observations = {key: _array(file, first, f"obs/{key}").shape[1:] for key in file.keys(first, "obs")}
    actions = {key: _array(file, first, key).shape for key in file.keys(first) if key.startswith(ACTIONS)}
    steps = [file.find(name, ACTIONS) for name in file.names]
    return Description(
        path=file.path,
        kind="robomimic HDF5",
        lengths=np.array([0 if found is None else len(found) for found in steps]),
        names=file.names,
        observations={key: shape or (1,) for key, shape in observations.items()},
        actions={key: shape[1] for key, shape in actions.items() if len(shape) == 2},
        masks={key: file.mask(key) for key in file.filter_keys},
        env_args=_env_args(file),
        external=external,
    )


def _array(file: DemonstrationFile, name: str, key: str) -> h5py.Dataset:
    node = file.find(name, key)
    assert node is not None
    return node


def _env_args(file: DemonstrationFile) -> dict[str, Any] | None:
    try:
        return file.env_args
    except InputError:
        return None


def _store(path: Path, external: bool) -> Description:
    store = zarr_store.Store.open(path, external)
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
        external=external,
    )


def _recording(path: Path, external: bool) -> Description:
    found = PushTRecording.open(path, external)
    numbers = {key: (size,) for key, size in PUSHT.observation_sizes.items()}
    return Description(
        path=path,
        kind="Push-T recording (zarr)",
        lengths=found.lengths,
        names=found.names,
        observations=numbers | found.picture_shapes,
        actions={ACTIONS: PUSHT.action_size},
        masks={},
        env_args=PushTSpec().env_args,
        external=external,
    )
