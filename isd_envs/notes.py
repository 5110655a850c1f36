"""Notes to the user beside a command's output."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr, flush=True)
