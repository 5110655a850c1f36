"""Control steps a second: what a file says, and what a user says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError

CLOSE = 1e-6


def rate_of_environment(env_args: Mapping[str, Any] | None) -> float | None:
    """The rate (Hz) of robosuite's environments; None for another's."""
    arguments = (env_args or {}).get("env_kwargs")
    stated = arguments.get("control_freq") if isinstance(arguments, Mapping) else None
    return float(stated) if isinstance(stated, int | float) else None


def rate_of(path: Path, recorded: float | None, env_args: Mapping[str, Any] | None, given: Any) -> float | None:
    """The rate (Hz) of a file that says `recorded` itself, or by its environment's control_freq; None: nobody says it.

    given: dataset.rate. Raises `InputError` where it is no rate, and where it is not the file's.
    """
    if given is not None and (
        isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf
    ):
        raise InputError(f"dataset.rate={given}: expected control steps a second, above 0.")
    known = recorded if recorded is not None else rate_of_environment(env_args)
    if given is None:
        return recorded
    if known is None:
        return float(given)
    if abs(known - given) > CLOSE * given:
        raise InputError(
            f"{path} was recorded at {known:g} steps a second, and dataset.rate={given:g}. Leave dataset.rate null; to "
            "train for another rate, resample the file."
        )
    return float(given)
