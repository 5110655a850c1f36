"""Keeps what foreign packages do to the process from outliving the call that needed them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator

_filters = threading.RLock()
"""`warnings.catch_warnings` is not made for threads: blocks that overlap restore each other's filters for good."""


@contextlib.contextmanager
def kept_environment() -> Iterator[None]:
    """Undoes what the block does to the environment variables."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Drops Python's warnings within the block, one block at a time, and keeps the filters as they were."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def kept_signal_handlers() -> Iterator[None]:
    """Undoes what the block does to the handlers of Ctrl-C and SIGTERM; only the main thread can change them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it was not set from Python, and cannot be
                signal.signal(number, handler)
