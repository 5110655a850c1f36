"""The observations that a policy sees: the last To of them, one for every control step."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Row = TypeVar("Row")


class ObservationHistory(Generic[Row]):
    """The last `length` observations. The first one after a `clear` fills it: a robot at rest has always seen that."""

    def __init__(self, length: int) -> None:
        self._rows: deque[Row] = deque(maxlen=length)
        self._length = length
        self.time = float("-inf")
        """When the newest observation was made."""

    def __len__(self) -> int:
        return len(self._rows)

    def push(self, row: Row, time: float = 0.0) -> bool:
        """Adds an observation; false, and nothing added, when it is older than the newest one."""
        if time < self.time:
            return False
        self._rows.extend([row] * (1 if self._rows else self._length))
        self.time = time
        return True

    def rows(self) -> list[Row]:
        """The observations, oldest first."""
        return list(self._rows)

    def newest(self) -> Row:
        """The last observation."""
        return self._rows[-1]

    def clear(self) -> None:
        """Forgets all observations."""
        self._rows.clear()
        self.time = float("-inf")
