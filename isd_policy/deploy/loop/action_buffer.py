"""The actions that lie ahead of a robot, made of chunks that arrive while older ones are being executed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from isd_policy.deploy.loop.turns import nearest_turn


@dataclass(frozen=True)
class Merged:
    """What became of a chunk: actions dropped because their steps had passed, and actions blended with older ones."""

    dropped: int
    blended: int


@dataclass
class ActionBuffer:
    """Merges chunks by the number of actions that were really taken since each one's observation.

    A chunk [n, Da] belongs to the observation that it was computed from: its action i is for the moment at which i
    actions were taken since. While a robot holds, no action is taken, and the buffer waits with it.

    execution: Ta, how many actions of a chunk the policy means to be executed; the others are a reserve, which is given
    only where `reserve` is true. blend: over how many actions a new chunk takes over from the old one, linearly; 0
    replaces it at once. turns: the parts of an action that are rotation vectors, blended the short way round.
    """

    execution: int
    blend: int
    reserve: bool = True
    turns: tuple[slice, ...] = ()
    taken: int = field(default=0, init=False)
    """Actions taken since the last `clear`: the buffer's time."""

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything, as after a reset."""
        self.taken, self._begin = 0, 0
        self._actions = np.zeros((0, 0))

    @property
    def left(self) -> int:
        """Actions that are left, the reserve among them."""
        return self._begin + len(self._actions) - self.taken

    @property
    def fresh(self) -> int:
        """Actions that are left of the executed part of the last chunk."""
        return min(self.left, self._begin + self.execution - self.taken)

    @property
    def ready(self) -> bool:
        """Whether there is an action to give."""
        return (self.left if self.reserve else self.fresh) > 0

    def ahead(self, count: int) -> np.ndarray:
        """The next actions, [count or fewer, Da]: what the robot will do if no other chunk comes."""
        at = self.taken - self._begin
        return self._actions[at : at + count]

    def merge(self, actions: np.ndarray, asked: int) -> Merged | None:
        """Takes over a chunk [n, Da] whose observation was made when `asked` actions had been taken.

        None, and nothing changes, when all of its steps have passed.
        """
        dropped = self.taken - asked
        if dropped >= len(actions):
            return None
        actions = np.array(actions, np.float64)
        overlap = min(self.blend, self.left, len(actions) - dropped)
        if overlap > 0:
            new = slice(dropped, dropped + overlap)
            actions[new] = self._crossfade(self.ahead(overlap), actions[new])
        self._begin, self._actions = asked, actions
        return Merged(dropped, max(overlap, 0))

    def next(self) -> np.ndarray | None:
        """Takes the next action [Da]; None when there is none."""
        if not self.ready:
            return None
        self.taken += 1
        return self._actions[self.taken - 1 - self._begin]

    def _crossfade(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        weight = (np.arange(1, len(new) + 1) / (len(new) + 1))[:, None]
        for turn in self.turns:
            new[:, turn] = nearest_turn(new[:, turn], old[:, turn])
        return (1 - weight) * old + weight * new
