"""Demonstrations: readers of files, and windows for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isd_core.support.errors import InputError
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.data.reader import ReadOptions

if TYPE_CHECKING:  # what looks at a file and trains nothing comes without torch
    from isd_core.training.distributed import World


def read_shared(path: str | Path, options: Mapping[str, Any], world: World) -> Demonstrations:
    """`read`, with what is held in memory held once for all processes of a machine."""
    if world.size == 1:
        return read(path, options)
    from isd_core.training.shared_memory import shared

    outline = read(path, {**options, "pictures": "disk"})

    def arrays() -> dict[str, np.ndarray]:
        whole = read(path, options)
        held = {f"obs_{key}": rows for key, rows in whole.observations.items() if isinstance(rows, np.ndarray)}
        return held | {"actions": whole.actions}

    held = shared(world, arrays)
    observations = {key: held.get(f"obs_{key}", rows) for key, rows in outline.observations.items()}
    return replace(outline, observations=observations, actions=held["actions"])


def read(path: str | Path, options: Mapping[str, Any]) -> Demonstrations:
    """The demonstrations of a file. options: the fields of the group `dataset`, of which any may be left out.

    Its reader is the one that `dataset.reader` names, or that recognises the file. Observations of robosuite 1.4 become
    those of 1.5 (see `translations`). Raises `InputError` when the file or what it holds cannot be used.
    """
    from isd_policy.data.rate import rate_of
    from isd_policy.data.readers import reader_of  # a loaded policy needs no reader
    from isd_policy.data.translations import translated

    path = Path(path)
    keys = options.get("observation_keys")
    if isinstance(keys, str) or (keys is not None and not keys):
        raise InputError(
            f"dataset.observation_keys={keys!r}: expected a list of at least one key, as [object], or null for all of "
            "the file."
        )
    reader = reader_of(path, options)
    asked = ReadOptions(
        observation_keys=None if keys is None else tuple(keys),
        **{key: options[key] for key in ("action_key", "filter_key", "pictures", "external") if key in options},
    )
    found = reader.read(path, asked)
    found = replace(found, rate=rate_of(path, found.rate, found.env_args, options.get("rate")))
    return translated(
        found, lambda keys: reader.read(path, replace(asked, observation_keys=tuple(keys), pictures="disk"))
    )
