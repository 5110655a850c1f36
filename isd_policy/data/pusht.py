"""Diffusion Policy's recording of Push-T: 206 human episodes in a zarr v2 store with data/{state, action, img, ...}."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.engines.pusht.observations import observe
from envs.engines.pusht.spec import PICTURE, PushTSpec
from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import open_group
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.rows import RowsOnDisk, fits_in_memory
from isd_policy.data.zarr_store import READ_STEPS

PICTURE_KEY = "image"
PICTURES = "data/img"
STATE = ("data/state", "data/action", "meta/episode_ends")


def is_recording(path: Path) -> bool:
    """Whether a zarr store is this recording: its arrays, and no description of an environment."""
    group = open_group(path)
    named = "env_args" in group.attrs
    return not named and all(key in group for key in STATE) and group["data/state"].shape[1:] == (5,)


def pictures_of(group: Any) -> dict[str, tuple[int, ...]]:
    """The pictures that a recording has, key -> [H, W, C]; a copy without them trains policies of the state."""
    return {PICTURE_KEY: (PICTURE, PICTURE, 3)} if PICTURES in group else {}


def read(
    path: Path,
    observation_keys: Sequence[str],
    action_key: str = "actions",
    filter_key: str | None = None,
    pictures: str = "auto",
) -> Demonstrations:
    """Reads the recording as it is. Observations are those of `isd/PushT-v0`, made from the recorded states; actions
    are places in pixels. The options are those of the robomimic reader; there is no filter key.

    Raises `InputError` for an unknown key and for damaged data.
    """
    group = open_group(path)
    state = np.asarray(group["data/state"][:], np.float64)
    actions = np.asarray(group["data/action"][:], np.float32)
    ends = np.asarray(group["meta/episode_ends"][:])
    if not len(ends) or len(state) != ends[-1] or len(actions) != ends[-1]:
        raise InputError(
            f"{path}: {len(state)} states and {len(actions)} actions, but the episodes end at step "
            f"{ends[-1] if len(ends) else 0}. The recording is incomplete; download it again."
        )
    if action_key != "actions":
        raise InputError(f"{path} has no `{action_key}`: Push-T's actions are places, use actions=recorded.")
    if filter_key is not None:
        raise InputError(f"{path} has no filter keys, so dataset.filter_key={filter_key} must be null.")
    numbers = {key: value.astype(np.float32) for key, value in observe(state).items()}
    known = [*numbers, *pictures_of(group)]
    if unknown := [key for key in observation_keys if key not in known]:
        raise InputError(f"{path} has no observation `{unknown[0]}`; there is: {', '.join(known)}.")
    return Demonstrations(
        observations={
            key: _pictures(group[PICTURES], pictures) if key == PICTURE_KEY else numbers[key]
            for key in observation_keys
        },
        actions=actions,
        lengths=np.diff(ends, prepend=0),
        names=tuple(f"demo_{i}" for i in range(len(ends))),
        env_args=PushTSpec().env_args,
        source=str(path),
    )


def _pictures(array: Any, place: str) -> Rows:
    """The pictures [N, 96, 96, 3], which are recorded as float32 from 0 to 255."""
    shape = (array.shape[0], PICTURE, PICTURE, 3)
    if not fits_in_memory(int(np.prod(shape)), place):
        return RowsOnDisk(lambda first, end: array[first:end].astype(np.uint8), shape)
    out = np.empty(shape, np.uint8)
    for begin in range(0, array.shape[0], READ_STEPS):
        out[begin : begin + READ_STEPS] = array[begin : begin + READ_STEPS]
    return out
