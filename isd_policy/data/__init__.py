"""Demonstrations: readers of files, and windows for training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isd_policy.data.demonstrations import Demonstrations


def read(path: str | Path, options: Mapping[str, Any]) -> Demonstrations:
    """The demonstrations of a file. options: the fields of the config group `dataset`.

    Raises `InputError` when the file or what it holds cannot be used.
    """
    from isd_policy.data import robomimic

    return robomimic.read(path, **options)
