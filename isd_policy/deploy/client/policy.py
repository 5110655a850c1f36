"""A policy on a server, with the interface of a local policy."""

from __future__ import annotations

import io
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from .wire import Jpeg, WireError, pack, unpack

OPTIONS = "isd"
"""The key of a request under which `stream`, `deadline_ms`, `prefix` and `left` stand."""
MOST_BYTES = 16 * 2**20
"""Of a frame that is taken from a server."""
LONGEST = 65_536
"""Observations, actions of a chunk, and numbers of an action, at most."""
PICTURE_AXES = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two attempts to connect."""


class ServerError(RuntimeError):
    """The server refused a request; the message is the server's."""


class NoServerError(ServerError):
    """There was no server, or no answer in time."""


class Horizons(NamedTuple):
    """Observations that the policy sees, and actions of a chunk that are executed."""

    observation: int
    execution: int


class Call(NamedTuple):
    """The last observations, oldest first, the stream (seed, *index) of the noise, and where there are any, the prefix
    [d, Da] and what is left of the last chunk [m, Da].
    """

    history: Sequence[Mapping[str, np.ndarray]]
    stream: tuple[int, ...]
    prefix: np.ndarray | None = None
    left: np.ndarray | None = None


class RemotePolicy:
    """The policy of the server at `url` (ws://host:port). It may be used by one thread at a time.

    token: what the server asks for, if it does. timeout: seconds for an answer. retry: seconds for which a lost server
    is looked for before a call is given up; 0 tries once. cafile: for `wss://`, the certificate (PEM) of the authority
    that vouches for the server, where the system does not know it. jpeg: the quality, 1 to 95, with which pictures are
    sent as JPEG (with Pillow); None sends them as they are. timing: milliseconds of the parts of the last call, encode,
    network, queue, infer and decode. A call that is given up does not close the policy:
    the next one connects again. Raises `NoServerError` and `ServerError`, and `WireError` for the answers of what is no
    policy server.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 10.0,
        retry: float = 10.0,
        cafile: str | None = None,
        jpeg: int | None = None,
    ) -> None:
        if jpeg is not None and (type(jpeg) is not int or not 1 <= jpeg <= 95):
            raise ValueError(f"jpeg={jpeg}: expected a quality from 1 to 95, or None.")
        self._tls = None if cafile is None else ssl.create_default_context(cafile=cafile)
        self.url, self.token, self.timeout, self.retry = url, token, timeout, retry
        self._opened = ExitStack()
        self._connection: ClientConnection | None = None
        self.metadata: dict[str, Any] = {}
        self.jpeg = jpeg
        self.timing: dict[str, float] = {}
        self.connections = 0
        """How often it connected."""
        self._connect_again(time.monotonic() + retry)
        self.reset()

    def __enter__(self) -> RemotePolicy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._connection = None
        self._opened.close()

    # -- one robot ----------------------------------------------------------------------------------------------------

    def reset(self, seed: int = 0) -> None:
        """Forgets the observations; the noise of the calls that follow comes from (seed, number of the call)."""
        self._history: deque[dict[str, np.ndarray]] = deque(maxlen=self.horizons.observation)
        self._seed, self._calls = seed, 0
        self._left: np.ndarray | None = None

    def observe(self, obs: Mapping[str, np.ndarray]) -> None:
        """Adds one observation to the history; the first one fills it. Call it at every control step."""
        row = self.row(obs)
        self._history.extend([row] * (1 if self._history else self.horizons.observation))
        self._left = None if self._left is None else self._left[1:]

    def act(self, obs: Mapping[str, np.ndarray], prefix: np.ndarray | None = None) -> np.ndarray:
        """`observe(obs)`, then the next actions to execute, [Ta, Da] float32.

        prefix: [d, Da] what the robot executes from this observation on until the answer is there; the answer is what
        follows it. Raises `ServerError` for a prefix that the server's policy cannot be given.
        """
        self.observe(obs)
        frame = self.preprocess([Call(list(self._history), (self._seed, self._calls), prefix, self._left)])
        self._calls += 1
        given = 0 if prefix is None else len(prefix)
        self._left = self.infer(frame)[0]
        return self._left[given : given + self.horizons.execution]

    # -- what a control loop asks -------------------------------------------------------------------------------------

    @property
    def longest_prefix(self) -> int | None:
        """How many actions a call may be given as its prefix; None for a policy that was trained without."""
        longest: int | None = self.metadata.get("longest_prefix")
        return longest

    def row(self, obs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A copy of what the policy needs of an observation; `ServerError` when a part of it is not there."""
        wanted = self.metadata["observations"]
        if absent := [key for key in wanted if key not in obs]:
            raise ServerError(f"The observation has no `{absent[0]}`; the policy needs {', '.join(wanted)}.")
        return {key: np.array(obs[key]) for key in wanted}

    def preprocess(self, calls: Sequence[Any]) -> bytes:
        """The frame of one call (an object with `history`, `stream`, `prefix` and `left`)."""
        began = time.perf_counter()
        (call,) = calls
        content: dict[str, Any] = {key: self._sent(key, [row[key] for row in call.history]) for key in call.history[-1]}
        content[OPTIONS] = {"stream": list(call.stream), "deadline_ms": 1000 * self.timeout}
        if call.prefix is not None and len(call.prefix):
            if self.longest_prefix is None:  # an older server does not know the key, and would refuse the whole frame
                raise ServerError(
                    f"The policy at {self.url} takes no prefix: it was trained without one, or its server is older."
                )
            content[OPTIONS]["prefix"] = np.asarray(call.prefix, np.float32)
        if call.left is not None and len(call.left) and self.metadata.get("choose") == "coherent":
            content[OPTIONS]["left"] = np.asarray(call.left, np.float32)
        frame = pack(content)
        self.timing = {"encode": 1e3 * (time.perf_counter() - began)}
        return frame

    def _sent(self, key: str, values: list[np.ndarray]) -> Any:
        """The last observations of a key as they are sent: one array, or a list of JPEGs."""
        if self.jpeg is None or values[0].ndim != PICTURE_AXES:
            return np.stack(values)
        if not self.metadata.get("jpeg"):
            raise ServerError(f"The server at {self.url} reads no JPEG: leave jpeg=None.")
        return [Jpeg(_compressed(value, self.jpeg)) for value in values]

    def infer(self, frame: bytes) -> np.ndarray:
        """Sends a frame, again if the connection is lost, and returns the actions from the newest observation on,
        [1, n, Da].
        """
        limit = time.monotonic() + self.retry
        while True:
            connection = self._connection or self._connect_again(limit)
            try:
                sent = time.perf_counter()
                connection.send(frame)
                answer = connection.recv(timeout=self.timeout)
                received = time.perf_counter()
                break
            except TimeoutError as error:
                self.close()  # a late answer must not be taken for the next one
                raise NoServerError(f"{self.url} did not answer within {self.timeout:g} s.") from error
            except (WebSocketException, OSError) as error:
                self.close()
                if time.monotonic() >= limit:
                    raise NoServerError(f"The connection to {self.url} was lost: {error}.") from error
        if isinstance(answer, str):
            raise ServerError(answer)
        content = unpack(answer)
        actions = self._actions(content)
        self._time(content, 1e3 * (received - sent), 1e3 * (time.perf_counter() - received))
        return actions

    def _time(self, content: dict[str, Any], away: float, unpacked: float) -> None:
        """Notes the parts of a call that was `away` for so long and took so long to unpack (ms)."""
        given = content.get("server_timing")
        there = given if isinstance(given, dict) else {}
        parts = (there.get(key) for key in ("read_ms", "queue_ms", "infer_ms"))
        read, queue, infer = (part if isinstance(part, float) else 0.0 for part in parts)
        self.timing |= {"network": away - read - queue - infer, "queue": queue, "infer": infer}
        self.timing["decode"] = read + unpacked

    def _actions(self, content: Any) -> np.ndarray:
        actions = content.get("ahead") if isinstance(content, dict) else None
        if not isinstance(actions, np.ndarray) or actions.ndim != 2 or actions.dtype.kind != "f":
            raise WireError("The server's answer holds no actions.")
        if actions.shape[1] != self._size or not self.horizons.execution <= len(actions) <= LONGEST:
            raise WireError(
                f"The server's answer holds actions of shape {list(actions.shape)}; its policy has {self._size} "
                f"numbers an action and executes {self.horizons.execution}."
            )
        if not np.isfinite(actions).all():
            raise WireError("The server's answer holds numbers that are not finite.")
        return actions[None]

    def _describe(self, metadata: bytes) -> None:
        """Takes over what the server says of its policy; `WireError` where it is no such description."""
        content = unpack(metadata)
        try:
            lengths, observations = content["horizons"], content["observations"]
            horizons = Horizons(_length(lengths["observation"]), _length(lengths["execution"]))
            size = _length(content["actions"]["size"])
            if content.get("longest_prefix") is not None:
                _length(content["longest_prefix"], least=0)
            if not isinstance(observations, dict) or not all(isinstance(key, str) for key in observations):
                raise TypeError("its observations have no names")
        except (KeyError, TypeError, ValueError) as error:
            raise WireError(f"{self.url} does not describe a policy: {type(error).__name__}: {error}.") from error
        self.metadata, self.horizons, self._size = content, horizons, size

    def _connect_again(self, limit: float) -> ClientConnection:
        pause = FIRST_PAUSE
        while True:
            try:
                return self._connect()
            except InvalidStatus as error:  # an answer, which another attempt would get again
                raise ServerError(f"{self.url} refused the connection: HTTP {error.response.status_code}.") from error
            except (WebSocketException, OSError, TimeoutError) as error:
                if time.monotonic() + pause > limit:
                    raise NoServerError(f"There is no policy server at {self.url}: {error}.") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _connect(self) -> ClientConnection:
        headers = None if self.token is None else {"Authorization": f"Bearer {self.token}"}
        options: dict[str, Any] = {
            "compression": None,
            "max_size": MOST_BYTES,
            "open_timeout": self.timeout,
            "proxy": None,
        }
        if self._tls is not None:
            options["ssl"] = self._tls
        with ExitStack() as opened:
            connection = opened.enter_context(connect(self.url, additional_headers=headers, **options))
            metadata = connection.recv(timeout=self.timeout)
            if isinstance(metadata, str):
                raise ServerError(metadata)
            self._describe(metadata)
            self._opened = opened.pop_all()  # what failed on the way here is closed
        self._connection = connection
        self.connections += 1
        return connection


def _compressed(picture: np.ndarray, quality: int) -> bytes:
    """A picture [H, W, 3] of bytes as a JPEG file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ServerError(f"jpeg={quality} needs Pillow here ({error}): pip install pillow.") from error
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _length(value: Any, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= LONGEST:
        raise ValueError(f"{str(value)[:40]} is no number from {least} to {LONGEST}")
    return value
