"""What every action passes on its way to the robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from isd_core.support.errors import InputError
from isd_policy.actions import POSE
from isd_policy.deploy.loop.turns import nearest_turn

CLIPPED, SLOWED, BOXED = "clipped", "slowed", "boxed"


class Checked(NamedTuple):
    """An action [Da] that may go to the robot, and the guards that changed it."""

    action: np.ndarray
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Box:
    """A region (m) that no action leads an arm further out of.

    low, high: [3] its corners. scale and keys: for displacements, the metres of an action of 1 and the observations
    that hold the arms' positions; for poses, whose positions are the actions themselves, keys is empty.
    """

    low: np.ndarray
    high: np.ndarray
    scale: float = 1.0
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if np.shape(self.low) != (3,) or np.shape(self.high) != (3,) or not np.all(self.low < self.high):
            raise InputError(
                f"A workspace box needs a low corner of three numbers below its high one, not {self.low} and "
                f"{self.high}."
            )

    def __call__(self, action: np.ndarray, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The action [Da] with the position of each arm kept in the box, or at least not led further out."""
        action = action.copy()
        for arm in range(len(action) // POSE):
            position = action[POSE * arm : POSE * arm + 3]  # a view
            if not self.keys:
                np.clip(position, self.low, self.high, out=position)
                continue
            at = obs[self.keys[arm]]
            lowest, highest = (self.low - at) / self.scale, (self.high - at) / self.scale
            np.clip(position, np.minimum(lowest, 0), np.maximum(highest, 0), out=position)
        return action


@dataclass(frozen=True)
class Guards:
    """Limits of a robot's actions, and the action that holds it.

    low, high: [Da] the range. still: [Da] the action that keeps the robot where it is; a NaN in it stands for the
    number that the robot was given last. rate: [Da] the largest change from one tick to the next, or None. box: a
    region for the arms, or None. turns: the parts of an action that are rotation vectors.
    Raises `InputError` where these do not fit each other.
    """

    low: np.ndarray
    high: np.ndarray
    still: np.ndarray
    rate: np.ndarray | None = None
    box: Box | None = None
    turns: tuple[slice, ...] = ()

    def __post_init__(self) -> None:
        if not np.shape(self.low) == np.shape(self.high) == np.shape(self.still) or np.any(self.low > self.high):
            raise InputError("The guards' low, high and still must be vectors of one length, with low below high.")
        if self.rate is not None and (np.shape(self.rate) != np.shape(self.low) or not np.all(self.rate > 0)):
            raise InputError(f"The guards' rate needs {len(self.low)} numbers above 0, not {self.rate}.")

    @classmethod
    def displacements(
        cls, size: int, rate: np.ndarray | float | None = None, box: Box | None = None, limit: float = 1.0
    ) -> Guards:
        """For arms of 7 numbers (displacement, rotation, gripper) in [-limit, limit]: zeros hold, grippers stay."""
        still = np.zeros(size)
        still[POSE - 1 :: POSE] = np.nan
        bound = np.full(size, limit)
        return cls(-bound, bound, still, _vector(rate, size), box)

    @classmethod
    def positions(
        cls, low: np.ndarray, high: np.ndarray, rate: np.ndarray | float | None = None, box: Box | None = None
    ) -> Guards:
        """For places that the robot goes to: the last action holds. In arms of 7 numbers the rotations are vectors."""
        size = len(low)
        arms = size // POSE if size % POSE == 0 else 0
        turns = tuple(slice(POSE * arm + 3, POSE * arm + 6) for arm in range(arms))
        return cls(low, high, np.full(size, np.nan), _vector(rate, size), box, turns)

    @property
    def size(self) -> int:
        """Da."""
        return len(self.low)

    def hold(self, last: np.ndarray) -> np.ndarray:
        """The action [Da] that keeps the robot where it is after `last`."""
        return np.where(np.isnan(self.still), last, self.still)

    def objection(self, actions: object) -> str | None:
        """What is wrong with a policy's actions [n, Da] that no limit could mend, or None."""
        if not isinstance(actions, np.ndarray):
            return f"it is a {type(actions).__name__}, not an array of NumPy"
        if actions.dtype.kind not in "fiu":
            return f"it holds {actions.dtype}, not numbers"
        if actions.ndim != 2 or actions.shape[1] != self.size or not len(actions):
            return f"its shape is {list(actions.shape)}; the robot takes actions of {self.size} numbers"
        if not np.isfinite(actions).all():
            return "it holds numbers that are not finite"
        return None

    def __call__(self, action: np.ndarray, last: np.ndarray | None, obs: Mapping[str, np.ndarray]) -> Checked:
        """The nearest action [Da] within all limits.

        last: what the robot was given before, or None; obs: the newest observation.
        """
        changes = []
        if self.rate is not None and last is not None:
            for turn in self.turns:
                action = _replaced(action, turn, nearest_turn(action[turn], last[turn]))
            slowed = np.clip(action, last - self.rate, last + self.rate)
            changes += [SLOWED] if np.any(slowed != action) else []
            action = slowed
        if self.box is not None:
            boxed = self.box(action, obs)
            changes += [BOXED] if np.any(boxed != action) else []
            action = boxed
        within = np.clip(action, self.low, self.high)
        changes += [CLIPPED] if np.any(within != action) else []
        return Checked(within, tuple(changes))


def _vector(value: np.ndarray | Sequence[float] | float | None, size: int) -> np.ndarray | None:
    return None if value is None else np.broadcast_to(np.asarray(value, np.float64), (size,))


def _replaced(action: np.ndarray, part: slice, values: np.ndarray) -> np.ndarray:
    action = action.copy()
    action[part] = values
    return action
