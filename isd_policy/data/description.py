"""What a file of demonstrations holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from isd_policy.data.rate import rate_of
from isd_policy.data.reader import ACTIONS, Description
from isd_policy.data.readers import reader_of

__all__ = ["ACTIONS", "Description", "describe", "read_by"]

READ_BY = ("external", "reader", "observations", "actions", "episodes", "rate")
"""The fields of a command by which a file is read, which are those of the group `dataset`."""


def read_by(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a command's config says how a file is read."""
    return {key: config[key] for key in READ_BY}


def describe(path: Path, options: Mapping[str, Any] | None = None) -> Description:
    """Describes a file. options: those of the group `dataset` by which a file is read.

    Raises `InputError` where nobody can read it.
    """
    options = options or {}
    found = reader_of(path, options).describe(path, bool(options.get("external")))
    return replace(found, rate=rate_of(path, found.rate, found.env_args, options.get("rate")))
