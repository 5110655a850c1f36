"""Training data from Push-T's recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isd_core.support.registry import register
from isd_core.support.zarr_checks import read_rows
from isd_core.support.zarr_groups import is_group
from isd_envs.demonstrations.pusht_recording import PushTRecording, is_recording
from isd_envs.engines.pusht.observations import observe
from isd_envs.engines.pusht.spec import PICTURE, PushTSpec
from isd_envs.tasks import PUSHT
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.reader import ACTIONS, Description, Reader, ReadOptions, check_no_choice, chosen_keys
from isd_policy.data.rows import RowsOnDisk, fits_in_memory
from isd_policy.data.zarr_store import READ_STEPS

PICTURE_KEY = "image"


@register("reader", "pusht")
@dataclass(frozen=True)
class PushT(Reader):
    """The recording as it is. Observations are those of `isd/PushT-v0`, made from the recorded states; actions are
    places in pixels.
    """

    kind: ClassVar[str] = "Push-T recording (zarr)"

    def read(self, path: Path, options: ReadOptions) -> Demonstrations:
        """Raises `InputError` for an unknown key and for damaged data."""
        found = PushTRecording.open(path, options.external)
        check_no_choice(path, options, "Push-T's recording")
        numbers = {key: value.astype(np.float32) for key, value in observe(found.states).items()}
        return Demonstrations(
            observations={
                key: _pictures(path, found.pictures, options.pictures) if key == PICTURE_KEY else numbers[key]
                for key in chosen_keys(path, options, {**numbers, **found.picture_shapes})
            },
            actions=found.actions.astype(np.float32),
            lengths=found.lengths,
            names=found.names,
            env_args=PushTSpec().env_args,
            source=str(path),
        )

    def describe(self, path: Path, external: bool = False) -> Description:
        found = PushTRecording.open(path, external)
        numbers = {key: (size,) for key, size in PUSHT.observation_sizes.items()}
        return Description(
            path=path,
            kind=self.kind,
            lengths=found.lengths,
            names=found.names,
            observations=numbers | found.picture_shapes,
            actions={ACTIONS: PUSHT.action_size},
            env_args=PushTSpec().env_args,
            external=external,
            states=True,
        )

    def recognises(self, path: Path, external: bool = False) -> bool:
        return path.exists() and is_group(path) and is_recording(path, external)


def _pictures(path: Path, array: Any, place: str) -> Rows:
    """The pictures [N, 96, 96, 3], which are recorded as float32 from 0 to 255."""
    shape = (array.shape[0], PICTURE, PICTURE, 3)
    if not fits_in_memory(int(np.prod(shape)), place):
        return RowsOnDisk(lambda first, end: read_rows(path, array, first, end).astype(np.uint8), shape)
    out = np.empty(shape, np.uint8)
    for begin in range(0, array.shape[0], READ_STEPS):
        out[begin : begin + READ_STEPS] = read_rows(path, array, begin, begin + READ_STEPS)
    return out
