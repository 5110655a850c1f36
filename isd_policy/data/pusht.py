"""Training data from Push-T's recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.zarr_checks import read_rows
from isd_envs.demonstrations.pusht_recording import PushTRecording
from isd_envs.engines.pusht.observations import observe
from isd_envs.engines.pusht.spec import PICTURE, PushTSpec
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.rows import RowsOnDisk, fits_in_memory
from isd_policy.data.zarr_store import READ_STEPS

PICTURE_KEY = "image"


def read(
    path: Path,
    observation_keys: Sequence[str],
    action_key: str = "actions",
    filter_key: str | None = None,
    pictures: str = "auto",
    external: bool = False,
) -> Demonstrations:
    """Reads the recording as it is. Observations are those of `isd/PushT-v0`, made from the recorded states; actions
    are places in pixels. The options are those of the robomimic reader; there is no filter key.

    Raises `InputError` for an unknown key and for damaged data.
    """
    found = PushTRecording.open(path, external)
    if action_key != "actions":
        raise InputError(f"{path} has no `{action_key}`: Push-T's actions are places, use actions=recorded.")
    if filter_key is not None:
        raise InputError(f"{path} has no filter keys, so dataset.filter_key={filter_key} must be null.")
    numbers = {key: value.astype(np.float32) for key, value in observe(found.states).items()}
    known = [*numbers, *found.picture_shapes]
    if unknown := [key for key in observation_keys if key not in known]:
        raise InputError(f"{path} has no observation `{unknown[0]}`; there is: {', '.join(known)}.")
    return Demonstrations(
        observations={
            key: _pictures(path, found.pictures, pictures) if key == PICTURE_KEY else numbers[key]
            for key in observation_keys
        },
        actions=found.actions.astype(np.float32),
        lengths=found.lengths,
        names=found.names,
        env_args=PushTSpec().env_args,
        source=str(path),
    )


def _pictures(path: Path, array: Any, place: str) -> Rows:
    """The pictures [N, 96, 96, 3], which are recorded as float32 from 0 to 255."""
    shape = (array.shape[0], PICTURE, PICTURE, 3)
    if not fits_in_memory(int(np.prod(shape)), place):
        return RowsOnDisk(lambda first, end: read_rows(path, array, first, end).astype(np.uint8), shape)
    out = np.empty(shape, np.uint8)
    for begin in range(0, array.shape[0], READ_STEPS):
        out[begin : begin + READ_STEPS] = read_rows(path, array, begin, begin + READ_STEPS)
    return out
