"""Demonstrations that a program holds as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isd_core.support.errors import InputError


def checked(
    observations: Mapping[str, Any],
    actions: Any,
    episode_ends: Any,
    rate: float | None,
    names: Sequence[str] | None,
) -> dict[str, Any]:
    """The fields of `Demonstrations` for these arrays; `InputError` where they do not fit each other."""
    acted = _numbers("actions", actions)
    if acted.ndim != 2 or 0 in acted.shape:
        raise InputError(f"actions has shape {list(acted.shape)}; expected [N, Da], N steps of Da numbers.")
    if not observations:
        raise InputError("observations is empty: a policy sees at least one key, such as {'state': array}.")
    lengths = _lengths(episode_ends, len(acted))
    if rate is not None and not (np.isfinite(rate) and rate > 0):
        raise InputError(f"rate={rate}: expected control steps a second, above 0.")
    if names is not None and len(names) != len(lengths):
        raise InputError(f"names has {len(names)} entries for {len(lengths)} episodes.")
    return {
        "observations": {key: _observation(key, value, len(acted)) for key, value in observations.items()},
        "actions": acted,
        "lengths": lengths,
        "names": tuple(names) if names is not None else tuple(f"demo_{i}" for i in range(len(lengths))),
        "rate": None if rate is None else float(rate),
    }


def checked_labels(
    labels: Mapping[str, Sequence[str]], observations: Mapping[str, np.ndarray], actions: np.ndarray
) -> dict[str, tuple[str, ...]]:
    """The names of numbers; `InputError` where there are none of them, or another number."""
    sizes = {key: rows.shape[1] for key, rows in observations.items() if rows.ndim == 2} | {"actions": actions.shape[1]}
    for key, names in labels.items():
        if len(names) != sizes.get(key):
            raise InputError(
                f"labels[{key!r}] has {len(names)} names; expected those of the numbers of "
                f"{', '.join(f'{key} ({size})' for key, size in sizes.items())}."
            )
    return {key: tuple(map(str, names)) for key, names in labels.items()}


def _observation(key: str, value: Any, steps: int) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim == 4:
        if array.dtype != np.uint8:
            raise InputError(
                f"observations[{key!r}] has the type {array.dtype}; expected pictures as bytes (uint8), 0 to 255."
            )
    else:
        array = _numbers(f"observations[{key!r}]", value)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] == 0:
            raise InputError(
                f"observations[{key!r}] has shape {list(array.shape)}; expected numbers [N, d] or pictures "
                "[N, H, W, C]."
            )
    if len(array) != steps:
        raise InputError(f"observations[{key!r}] has {len(array)} steps, actions has {steps}.")
    return array


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds no numbers: {error}.") from error
    if not np.isfinite(array).all():
        raise InputError(
            f"{name} has numbers that are not finite, first in step {int(np.argwhere(~np.isfinite(array))[0][0])}."
        )
    return array


def _lengths(episode_ends: Any, steps: int) -> np.ndarray:
    ends = np.asarray(episode_ends)
    lengths = np.diff(ends, prepend=0) if ends.ndim == 1 and np.issubdtype(ends.dtype, np.integer) else np.zeros(1)
    if len(ends.shape) != 1 or (lengths < 1).any() or ends[-1] != steps:
        raise InputError(
            f"episode_ends={np.array2string(ends, threshold=6)}: expected the row after each episode's last one as "
            f"integers that rise to {steps}, the number of steps."
        )
    return lengths.astype(np.int64)
