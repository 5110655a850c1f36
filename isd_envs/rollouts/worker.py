"""The program of a simulation process, `python -m isd_envs.rollouts.worker FD`; `ProcessPool` starts it."""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

from isd_core.support.errors import InputError
from isd_envs.engines.slot import EnvSlot
from isd_envs.rollouts.pool import Raised, perform
from isd_envs.rollouts.transfer import unpacked


def serve(connection: Connection) -> None:
    """Performs jobs (slot, method, arguments) in order and sends (slot, result) back, until the other end closes."""
    refusal: Raised | None = None
    message = connection.recv()
    try:
        spec = unpacked(message)
    except InputError as error:  # the pool hears of it as the outcome of the first job
        refusal = Raised(str(error), user=True)
    env_slots: dict[int, EnvSlot] = {}
    while True:
        try:
            slot, method, arguments = connection.recv()
        except (EOFError, OSError):
            return  # the pool closed its end, or its process is gone
        if refusal is not None:
            connection.send((slot, refusal))
            continue
        env_slot = env_slots.setdefault(slot, EnvSlot(spec))
        connection.send((slot, perform(env_slot, method, arguments)))


if __name__ == "__main__":
    # Ctrl-C is the pool's to handle. The kernel's signal at a parent's death (`end_with_parent`) is not used: it comes
    # when the thread that started this process ends, and a pool may outlive that thread.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))
