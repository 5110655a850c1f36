"""Checks of single values that a user gave to a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isd_core.support.errors import InputError


def check_whole(config: Mapping[str, Any], *fields: str, least: int = 1) -> None:
    """Raises `InputError` unless every field is an integer of at least `least`."""
    for field in fields:
        value = config[field]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{field}={value}: expected a whole number of at least {least}.")


def check_positive(config: Mapping[str, Any], *fields: str) -> None:
    """Raises `InputError` unless every field is a number above 0."""
    for field in fields:
        value = config[field]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise InputError(f"{field}={value}: expected a number above 0.")
