"""What a policy sees: named vectors of numbers, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isd_core.support.errors import InputError

PICTURE_AXES = 3


def numbers_in(key: str, value: object) -> np.ndarray:
    """What was given under a key as an array; `InputError` for ragged lists, texts, bytes, maps and the like."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"The observation `{key}` is no array of numbers: {' '.join(str(error).split())}.") from error
    if array.dtype.kind not in "biuf":
        kind = type(value).__name__ if array.ndim == 0 or array.dtype.kind == "O" else f"{array.dtype}"
        raise InputError(f"The observation `{key}` holds {kind}; expected numbers.")
    return array


@dataclass(frozen=True)
class ObservationSchema:
    """shapes: key -> (d,) for numbers, (H, W, C) for a picture of bytes, in the order in which they are joined."""

    shapes: dict[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        for key, shape in self.shapes.items():
            if len(shape) not in (1, PICTURE_AXES) or min(shape) < 1:
                raise InputError(f"The observation `{key}` has shape {list(shape)}; expected [d] or [H, W, C].")

    @classmethod
    def from_config(cls, shapes: Mapping[str, Sequence[int]]) -> ObservationSchema:
        """From the lists of a config."""
        return cls({key: tuple(shape) for key, shape in shapes.items()})

    def to_config(self) -> dict[str, list[int]]:
        """JSON-able; `from_config` restores it."""
        return {key: list(shape) for key, shape in self.shapes.items()}

    @property
    def numbers(self) -> tuple[str, ...]:
        """The keys that hold vectors."""
        return tuple(key for key, shape in self.shapes.items() if len(shape) == 1)

    @property
    def pictures(self) -> tuple[str, ...]:
        """The keys that hold pictures."""
        return tuple(key for key, shape in self.shapes.items() if len(shape) == PICTURE_AXES)

    @property
    def state_size(self) -> int:
        """Do, the length of the joined vectors."""
        return sum(self.shapes[key][0] for key in self.numbers)

    def dtype(self, key: str) -> type[np.generic]:
        """float32 for numbers, bytes for pictures."""
        return np.uint8 if key in self.pictures else np.float32

    def row(self, obs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A copy of one observation, key -> [d] float32 or [H, W, C] bytes.

        Raises `InputError` for a missing key, a wrong shape, a picture that is not bytes and a number that is not
        finite.
        """
        return {key: self._checked(obs, key) for key in self.shapes}

    def stack(self, histories: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """B histories, key -> [To, ...], as key -> [B, To, ...]."""
        return {
            key: np.stack([history[key] for history in histories]).astype(self.dtype(key), copy=False)
            for key in self.shapes
        }

    def zeros(self, *lead: int) -> dict[str, np.ndarray]:
        """key -> [*lead, ...] zeros."""
        return {key: np.zeros((*lead, *shape), self.dtype(key)) for key, shape in self.shapes.items()}

    def _checked(self, obs: Mapping[str, np.ndarray], key: str) -> np.ndarray:
        if key not in obs:
            raise InputError(f"The observation has no `{key}`; the policy needs {', '.join(self.shapes)}.")
        value, shape = numbers_in(key, obs[key]), self.shapes[key]
        if value.shape != shape:
            raise InputError(f"The observation `{key}` has shape {value.shape}; the policy was trained with {shape}.")
        if key in self.pictures:
            if value.dtype != np.uint8:
                raise InputError(f"The picture `{key}` has type {value.dtype}; expected bytes (uint8), 0 to 255.")
            return value.copy()
        numbers = value.astype(np.float32)
        if not np.isfinite(numbers).all():
            raise InputError(f"The observation `{key}` is not finite: {numbers.tolist()}. The policy was not called.")
        return numbers
