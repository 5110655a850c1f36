"""What a gymnasium environment's spaces are to a policy: named vectors, pictures, and a vector of actions.

- A `Box` of bytes [H, W, C], C = 1, 3 or 4, is a picture. Every other `Box`, and `MultiBinary`, is flattened into a
  vector; a single number is a vector of length 1.
- The entries of a `Dict` are called by their keys, those of a `Dict` inside by `outer/inner`. An observation that is a
  `Box` itself is called `observation`.
- Where no mapping is given, all that can be read is offered: `outer/inner` as `outer_inner`, the lone `Box` as `state`,
  or as `image` if it is a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from isd_core.support.errors import InputError

CHANNELS = (1, 3, 4)
LONE = "observation"
"""The name of an observation that has no names."""


@dataclass(frozen=True)
class Entry:
    """One part of an observation. keys: the way to it; shape: [d] of a vector or [H, W, C] of a picture."""

    keys: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def picture(self) -> bool:
        return len(self.shape) > 1

    def read(self, observation: Any) -> np.ndarray:
        """float64 [d], or bytes [H, W, C]. Raises `InputError` where the space promised another shape."""
        for key in self.keys:
            observation = observation[key]
        value = np.asarray(observation)
        value = value if self.picture else value.astype(np.float64).reshape(-1)
        if value.shape != self.shape or (self.picture and value.dtype != np.uint8):
            raise InputError(
                f"The environment's observation {'/'.join(self.keys) or LONE} is {value.dtype} {list(value.shape)}, "
                f"but its observation_space promises {list(self.shape)}. Correct the environment's space."
            )
        return value.copy()  # an environment may write into the same array at the next step


@dataclass(frozen=True)
class Observed:
    """How an environment's observations are read: our key -> the entry."""

    entries: dict[str, Entry]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: entry.shape for key, entry in self.entries.items()}

    def read(self, observation: Any) -> dict[str, np.ndarray]:
        """One observation by our keys."""
        return {key: entry.read(observation) for key, entry in self.entries.items()}

    def stack(self, rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """n observations as key -> [n, ...]."""
        return {
            key: np.array([row[key] for row in rows], np.uint8 if entry.picture else np.float64).reshape(
                -1, *entry.shape
            )
            for key, entry in self.entries.items()
        }


def observed(space: spaces.Space[Any], mapping: Mapping[str, str], name: str) -> Observed:
    """How observations of `space` are read. mapping: our key -> theirs; empty for all that can be read.

    Raises `InputError` that names the environment, the entry, and what there is.
    """
    found: dict[str, Entry | str] = dict(entries_of(space))
    offered = ", ".join(
        f"{theirs} {list(entry.shape)}" if isinstance(entry, Entry) else f"{theirs} ({entry}, which cannot be read)"
        for theirs, entry in found.items()
    )
    if mapping:
        for ours, theirs in mapping.items():
            if not isinstance(found.get(theirs), Entry):
                raise InputError(f"task.observations maps `{ours}` to `{theirs}` of {name}, which offers: {offered}.")
        return Observed({ours: entry for ours, theirs in mapping.items() if isinstance(entry := found[theirs], Entry)})
    entries: dict[str, Entry] = {}
    for theirs, entry in found.items():
        if isinstance(entry, Entry):
            ours = theirs.replace("/", "_") if entry.keys else ("image" if entry.picture else "state")
            if ours in entries:
                raise InputError(
                    f"Two observations of {name} would be called `{ours}`. Give names by task.observations={{ours: "
                    f"theirs}}; there is: {offered}."
                )
            entries[ours] = entry
    if not entries:
        raise InputError(
            f"The observations of {name} are {offered}. Expected a Box of numbers, pictures [H, W, C] of bytes, or a "
            "Dict of those: wrap the environment (gymnasium.wrappers.FlattenObservation, TransformObservation)."
        )
    return Observed(entries)


def entries_of(space: spaces.Space[Any], keys: tuple[str, ...] = ()) -> list[tuple[str, Entry | str]]:
    """(their name, the entry, or why it cannot be read) of all leaves."""
    if isinstance(space, spaces.Dict):
        return [pair for key, inner in space.spaces.items() for pair in entries_of(inner, (*keys, key))]
    name = "/".join(keys) or LONE
    if not isinstance(space, spaces.Box | spaces.MultiBinary):
        return [(name, str(space))]
    shape = space.shape
    if space.dtype == np.uint8 and len(shape) == 3:
        return [(name, Entry(keys, shape) if shape[-1] in CHANNELS else f"bytes {list(shape)}, not [H, W, C]")]
    return [(name, Entry(keys, (int(np.prod(shape)),)) if np.prod(shape) else f"empty {list(shape)}")]


def action_box(space: spaces.Space[Any], name: str) -> spaces.Box:
    """The space of actions; `InputError` unless it is a `Box` of real numbers."""
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return space
    raise InputError(
        f"The actions of {name} are {space}; a policy gives real numbers (a Box of floats). Wrap the environment so "
        "that its step takes numbers (gymnasium.wrappers.TransformAction), or choose another one."
    )
