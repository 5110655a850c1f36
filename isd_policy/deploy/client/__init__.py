"""Asks a policy server for actions. Imports NumPy, msgpack and websockets alone, and is a distribution of its own."""

from .policy import NoServerError, RemotePolicy, ServerError
from .wire import WireError, pack, unpack

__all__ = ["NoServerError", "RemotePolicy", "ServerError", "WireError", "pack", "unpack"]
