"""Windows of observations and actions over demonstrations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isd_core.support.errors import InputError
from isd_policy.actions import ActionRepresentation, Plain
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.horizons import Horizons


class ActionChunks:
    """Every window of `horizons` over the demonstrations, the ends padded by repeating the first or last step.

    A window may begin up to To - 1 steps before an episode and end up to Ta - 1 steps after it, as in Diffusion
    Policy; an episode too short for that gives one window. `len` is the number of windows. Actions are those of the
    network, `actions.encode` of the robot's. episodes: the numbers of those whose windows are taken (None: all).
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        horizons: Horizons,
        actions: ActionRepresentation | None = None,
        episodes: np.ndarray | None = None,
    ) -> None:
        self.horizons = horizons
        self.actions = (Plain() if actions is None else actions).encode(torch.from_numpy(demonstrations.actions))
        schema = demonstrations.schema
        self._numbers, self._state = schema.numbers, torch.from_numpy(demonstrations.state)
        self._sizes = [schema.shapes[key][0] for key in schema.numbers]
        self._pictures: Mapping[str, Rows | Tensor] = {key: demonstrations.observations[key] for key in schema.pictures}
        lengths = torch.from_numpy(demonstrations.lengths)
        first = lengths.cumsum(0) - lengths
        counts = (lengths - horizons.prediction + horizons.observation + horizons.execution - 1).clamp_min(1)
        if episodes is not None:
            taken = torch.zeros_like(counts)
            taken[torch.from_numpy(episodes)] = 1
            counts *= taken
        episode = torch.repeat_interleave(torch.arange(len(lengths)), counts)
        number = torch.arange(len(episode)) - (counts.cumsum(0) - counts)[episode]
        self._first = first[episode]  # row of the episode's first step
        self._last = (first + lengths - 1)[episode]
        self._begin = self._first + number - (horizons.observation - 1)  # row of the window's first step, maybe before

    def __len__(self) -> int:
        return len(self._begin)

    def to(self, device: torch.device) -> ActionChunks:
        """The same windows in the memory of a device. Raises `InputError` for pictures that are read from disk."""
        pictures = {}
        for key, values in self._pictures.items():
            if not isinstance(values, np.ndarray | Tensor):
                raise InputError(
                    f"trainer.data_on_device=true: the pictures of {key} are read from disk batch by batch. Read them "
                    "into memory (dataset.pictures=memory), or use trainer.data_on_device=false."
                )
            pictures[key] = torch.as_tensor(values).to(device)
        moved = copy.copy(self)
        moved._pictures = pictures
        for name in ("actions", "_state", "_first", "_last", "_begin"):
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def batch(self, indices: Tensor) -> dict[str, Any]:
        """Windows `indices` [B]: {"obs": {key: [B, To, ...]}, "action": [B, T, Da]}, in the data's units."""
        indices = indices.to(self._begin.device)
        steps = self._begin[indices, None] + torch.arange(self.horizons.prediction, device=indices.device)
        rows = steps.clamp(self._first[indices, None], self._last[indices, None])  # [B, T]
        seen = rows[:, : self.horizons.observation]
        state = _gather(self._state, seen).split(self._sizes, dim=-1)  # one gathering for all numbers
        pictures = {key: _pictures(values, seen) for key, values in self._pictures.items()}
        return {
            "obs": dict(zip(self._numbers, state, strict=True)) | pictures,
            "action": _gather(self.actions, rows),
        }


def _pictures(values: Rows | Tensor, rows: Tensor) -> Tensor:
    """values[rows] for pictures [N, H, W, C] and rows [B, To]."""
    return values[rows] if isinstance(values, Tensor) else torch.from_numpy(values[rows.numpy()])


def _gather(values: Tensor, rows: Tensor) -> Tensor:
    """values[rows] for values [N, d] and rows [B, T]; several times as fast as indexing."""
    return values.index_select(0, rows.flatten()).unflatten(0, rows.shape)
