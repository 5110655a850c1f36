"""Places for live episodes: the interface of a pool, and what its workers do with a job.

A pool has `slots` places, each an `EnvSlot`. A job is a method of one; one job at a time per slot; results come in any
order. A worker that dies or hangs is replaced: every slot that it served reports a `Lost`, and its episode has to begin
again.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Protocol

from isd_core.support.errors import InputError
from isd_envs.engines.slot import EnvSlot

ATTEMPTS = 3
"""How often an episode or job may lose its worker before the work is given up."""
HANG_SECONDS = 300.0
"""A job that takes longer is taken for hung; building an engine and compiling it take less."""


@dataclass(frozen=True)
class Lost:
    """The worker of this slot is gone (`reason` says how), and with it the episode in the slot."""

    reason: str


@dataclass(frozen=True)
class Raised:
    """The job raised. `user` tells whether it was an `InputError`."""

    message: str
    user: bool

    def reraise(self) -> None:
        """Raises the error in this process."""
        if self.user:
            raise InputError(self.message)
        raise RuntimeError(f"a simulation worker failed:\n{self.message}")


class Pool(Protocol):
    """Executes jobs in slots."""

    slots: int

    def submit(self, slot: int, method: str, *arguments: Any) -> None:
        """Queues `EnvSlot.method(*arguments)` in a slot."""

    def collect(self) -> list[tuple[int, Any]]:
        """Waits for results: (slot, what the job returned | Lost | Raised), at least one while jobs are under way."""

    def close(self) -> None:
        """Ends the workers."""


def perform(env_slot: EnvSlot, method: str, arguments: tuple[Any, ...]) -> Any:
    """The job's result, or `Raised`."""
    try:
        return getattr(env_slot, method)(*arguments)
    except InputError as error:
        return Raised(str(error), user=True)
    except Exception:
        return Raised(traceback.format_exc(), user=False)
