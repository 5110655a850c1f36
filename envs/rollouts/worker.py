"""The program of a simulation process, `python -m envs.rollouts.worker FD`; `ProcessPool` starts it."""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

from envs.engines.slot import Seat
from envs.rollouts.pools import perform
from envs.spec import spec_from_dict


def serve(connection: Connection) -> None:
    """Performs jobs (slot, method, arguments) in order and sends (slot, result) back, until the other end closes."""
    spec = spec_from_dict(connection.recv())
    seats: dict[int, Seat] = {}
    while True:
        try:
            slot, method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        seat = seats.setdefault(slot, Seat(spec))
        connection.send((slot, perform(seat, method, arguments)))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))
