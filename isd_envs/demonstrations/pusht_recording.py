"""Diffusion Policy's recording of Push-T: 206 human episodes in a zarr v2 store with data/{state, action, img, ...}."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.zarr_checks import check_chunks, read_rows
from isd_core.support.zarr_groups import open_group
from isd_envs.engines.pusht.spec import PICTURE

PICTURES = "data/img"
ARRAYS = ("data/state", "data/action", "meta/episode_ends")
STATE_SIZE = 5


def is_recording(path: Path, external: bool = False) -> bool:
    """Whether a zarr store is this recording: its arrays, and no description of an environment."""
    group = open_group(path, external)
    named = "env_args" in group.attrs
    return not named and all(key in group for key in ARRAYS) and group["data/state"].shape[1:] == (STATE_SIZE,)


@dataclass(frozen=True)
class PushTRecording:
    """states: [N, 5] agent x, y, block x, y (pixels), angle; actions: [N, 2] pixels; ends: [E], the last one is N;
    pictures: a zarr array [N, 96, 96, 3] of float32 from 0 to 255, or None in a copy without them.
    """

    path: Path
    states: np.ndarray
    actions: np.ndarray
    ends: np.ndarray
    pictures: Any

    @classmethod
    def open(cls, path: Path, external: bool = False) -> PushTRecording:
        """external: whether its files may lie elsewhere.

        Raises `InputError` for another store, for lost or damaged chunks, and where the lengths do not fit each other.
        """
        group = open_group(path, external)
        if absent := [key for key in ARRAYS if key not in group]:
            raise InputError(f"{path} has no {absent[0]}: of zarr stores only Push-T's recording holds states.")
        arrays = [group[key] for key in ARRAYS]
        pictures = group.get(PICTURES)
        for array in arrays if pictures is None else [*arrays, pictures]:
            check_chunks(path, array)
        states, actions = (read_rows(path, array).astype(np.float64) for array in arrays[:2])
        ends = read_rows(path, arrays[2]).astype(np.int64)
        last = int(ends[-1]) if len(ends) else 0
        if not len(ends) or len(states) != last or len(actions) != last or (np.diff(ends, prepend=0) < 1).any():
            raise InputError(
                f"{path}: {len(states)} states and {len(actions)} actions, but the episodes end at step {last}. The "
                "recording is incomplete; download it again."
            )
        return cls(path, states, actions, ends, pictures)

    @property
    def names(self) -> tuple[str, ...]:
        """demo_0, demo_1, ...: the recording itself has no names."""
        return tuple(f"demo_{i}" for i in range(len(self.ends)))

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each episode, [E]."""
        return np.diff(self.ends, prepend=0)

    @property
    def picture_shapes(self) -> dict[str, tuple[int, ...]]:
        """The pictures that it has, key -> [H, W, C]."""
        return {} if self.pictures is None else {"image": (PICTURE, PICTURE, 3)}
