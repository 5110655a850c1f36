"""Demonstrations: readers of files, and windows for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import is_group
from isd_core.training.distributed import World
from isd_core.training.shared_memory import shared
from isd_policy.data.demonstrations import Demonstrations


def read_shared(path: str | Path, options: Mapping[str, Any], world: World) -> Demonstrations:
    """`read`, with what is held in memory held once for all processes of a machine."""
    if world.size == 1:
        return read(path, options)
    outline = read(path, {**options, "pictures": "disk"})

    def arrays() -> dict[str, np.ndarray]:
        whole = read(path, options)
        held = {f"obs_{key}": rows for key, rows in whole.observations.items() if isinstance(rows, np.ndarray)}
        return held | {"actions": whole.actions}

    held = shared(world, arrays)
    observations = {key: held.get(f"obs_{key}", rows) for key, rows in outline.observations.items()}
    return replace(outline, observations=observations, actions=held["actions"])


def read(path: str | Path, options: Mapping[str, Any]) -> Demonstrations:
    """The demonstrations of a file; its content decides who reads it. options: the fields of the group `dataset`.

    Observations of robosuite 1.4 become those of 1.5 (see `translations`). Raises `InputError` when the file or what it
    holds cannot be used.
    """
    from isd_policy.data.translations import translated  # a loaded policy needs no reader

    path = Path(path)
    if isinstance(options["observation_keys"], str) or not options["observation_keys"]:
        raise InputError(
            f"dataset.observation_keys={options['observation_keys']!r}: expected a list of at least one key, as "
            "[object]."
        )
    options = {key: value for key, value in options.items() if key != "allow_differences"}  # the training's concern
    return translated(
        _read(path, options), lambda keys: _read(path, {**options, "observation_keys": keys, "pictures": "disk"})
    )


def _read(path: Path, options: Mapping[str, Any]) -> Demonstrations:
    from isd_envs.demonstrations.pusht_recording import is_recording
    from isd_policy.data import pusht, robomimic, zarr_store

    if path.exists() and is_group(path):
        return (pusht if is_recording(path, bool(options.get("external"))) else zarr_store).read(path, **options)
    return robomimic.read(path, **options)
