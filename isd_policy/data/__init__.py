"""Demonstrations: readers of files, and windows for training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isd_core.errors import InputError
from isd_core.zarr_groups import is_group
from isd_policy.data.demonstrations import Demonstrations


def read(path: str | Path, options: Mapping[str, Any]) -> Demonstrations:
    """The demonstrations of a file; its content decides who reads it. options: the fields of the group `dataset`.

    Raises `InputError` when the file or what it holds cannot be used.
    """
    from isd_policy.data import pusht, robomimic, zarr_store

    path = Path(path)
    if isinstance(options["observation_keys"], str) or not options["observation_keys"]:
        raise InputError(
            f"dataset.observation_keys={options['observation_keys']!r}: expected a list of at least one key, as "
            "[object]."
        )
    if path.exists() and is_group(path):
        return (pusht if pusht.is_recording(path) else zarr_store).read(path, **options)
    return robomimic.read(path, **options)
