"""What became of every attempt: refused, without effect, or through."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from isd_core.support.errors import InputError

MOST_EXAMPLES = 20
MEMORY = 3 * 1024**3
"""Bytes that an attempt in a process of its own may take beyond what that process has at its start."""


REFUSED, UNHARMED = "refused", "unharmed"
REFUSALS = (InputError, FloatingPointError)
"""What says on purpose that something cannot be used; the second is a policy's, of actions that are not finite."""
ERROR = "error: "
"""What an outcome begins with that is an error of another class than `REFUSALS`."""


@dataclass
class Tally:
    """A kind of attempt, counted.

    unharmed: without effect on any bit of the result; errors: other errors than a refusal; got_through: everything
    else, such as a wrong result. examples: the first ones of the last two, in words.
    """

    what: str
    refused: int = 0
    unharmed: int = 0
    errors: int = 0
    got_through: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """All attempts."""
        return self.refused + self.unharmed + self.errors + self.got_through

    def judge(self, attempt: str, act: Callable[[], Any], expected: Any) -> None:
        """Counts an attempt: `act` raises one of `REFUSALS`, or its result is that of the undamaged thing."""
        self.count(attempt, outcome(act, expected))

    def count(self, attempt: str, happened: str) -> None:
        """Counts an attempt by what `outcome` says of it."""
        if happened == REFUSED:
            self.refused += 1
        elif happened == UNHARMED:
            self.unharmed += 1
        else:
            if happened.startswith(ERROR):
                self.errors += 1
            else:
                self.got_through += 1
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append(f"{attempt}: {happened}")

    def to_dict(self) -> dict[str, Any]:
        """Its numbers as JSON has them."""
        return {"what": self.what, "tried": self.tried} | asdict(self)


def outcome(act: Callable[[], Any], expected: Any = None) -> str:
    """`REFUSED`, `UNHARMED`, or what else happened when `act` was called; expected: arrays by name, or one array."""
    try:
        found = act()
    except REFUSALS:
        return REFUSED
    except Exception as error:  # every other exception is what is looked for
        return f"{ERROR}{type(error).__name__}: {str(error)[:200]}"
    return UNHARMED if expected is not None and same(found, expected) else "a result that is not the right one"


def same(found: Any, expected: Any) -> bool:
    """Whether two arrays, or two mappings of arrays, are equal to the last bit."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    a, b = np.asarray(found), np.asarray(expected)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def apart(act: Callable[[], Any], expected: Any = None, seconds: float = 10.0) -> str:
    """`outcome` in a process of its own, with limits of time and memory, for attempts that may take any of both."""
    # A fork shares what is loaded, so that an attempt costs milliseconds. The parent must run no threads of torch.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_bounded, args=(sender, act, expected), daemon=True)
    process.start()
    sender.close()
    try:
        happened = receiver.recv() if receiver.poll(seconds) else f"{ERROR}no end within {seconds:g} s"
    except EOFError:
        process.join()
        happened = f"{ERROR}the process ended with {process.exitcode}"
    process.kill()
    process.join()
    return str(happened)


def _bounded(sender: Any, act: Callable[[], Any], expected: Any) -> None:
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    sender.send(outcome(act, expected))
