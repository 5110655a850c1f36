"""A policy for clients on a network: a websocket with msgpack frames, health and metrics over HTTP.

The first frame is the policy's description. Then each frame of a client is a map of observations, key -> [To, ...] (the
last To, oldest first) or [...] (one, which stands for all To, as of a robot at rest), and is answered by a frame with
`actions` [Ta, Da], those to execute, `ahead` [n, Da], all from the newest observation on, and `server_timing`; or by a
text, which says what is wrong. The server keeps nothing between two frames, so a client needs no reset. Under the key
`isd` a client may name the `stream` of its noise and its `deadline_ms`, and give the `prefix` that its robot executes
meanwhile, [d, Da], where the policy was trained with a delay (`longest_prefix` in its description), and what is `left`
of its last chunk, [m, Da], by which one of several candidates is chosen (`choose` is `coherent` in the description).
"""

from __future__ import annotations

import asyncio
import hmac
import http
import ipaddress
import reprlib
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from isd_core.support.errors import InputError
from isd_policy.backend import Call, PolicyBackend
from isd_policy.deploy.client.policy import OPTIONS
from isd_policy.deploy.client.wire import WireError, pack, unpack
from isd_policy.deploy.serve.batcher import DynamicBatcher, Job
from isd_policy.deploy.serve.metrics import Metrics
from isd_policy.deploy.serve.pictures import decoded, reads_jpeg
from isd_policy.observations import numbers_in

LONGEST_STREAM = 16
"""Numbers that may name a stream of noise."""
SPARE_BYTES = 65_536
"""What a frame may hold beside its observations."""
WIDEST_NUMBER = 8
OPTION_KEYS = {"stream", "deadline_ms", "prefix", "left"}
"""What stands under the key `isd` of a request; all of it may be left out."""


@dataclass(frozen=True)
class Limits:
    """deadline: seconds for an answer; clients: connections at once; grace: seconds for the last answers at the end."""

    deadline: float = 5.0
    clients: int = 64
    grace: float = 5.0


class PolicyServer:
    """Serves `policy`, whose description (the card of its bundle) is `card`.

    token: what a client must present as `Authorization: Bearer TOKEN` or `Api-Key TOKEN`. origins: of the web pages
    that may connect, as `https://robot.example`; programs name none and always may. tls: for connections that nobody on
    the way reads. seed: of the noise of clients that name no stream. Raises `InputError` for an address beyond this
    machine without a token.
    """

    def __init__(
        self,
        policy: PolicyBackend,
        card: Mapping[str, Any],
        batcher: DynamicBatcher,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        origins: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        seed: int = 0,
    ) -> None:
        if token is None and not is_loopback(host):
            raise InputError(
                f"host={host} reaches beyond this machine, where anybody could move the robot: give token_file=FILE, a "
                "file with a secret that clients present, or host=127.0.0.1."
            )
        self.policy, self.batcher, self.host, self.port = policy, batcher, host, port
        self.origins, self.tls = frozenset(origins), tls
        self.token, self.limits, self.seed = token, Limits() if limits is None else limits, seed
        self.metadata = pack(described(card))
        self.metrics = Metrics()
        self.metrics.waiting.set_function(lambda: batcher.waiting)
        self.metrics.clients.set_function(lambda: self._clients)
        self._connections = self._clients = self._answering = 0
        self._draining = False
        self._server: Server | None = None

    async def start(self) -> int:
        """Begins to listen; returns the port."""
        self._server = await serve(
            self._serve,
            self.host,
            self.port,
            process_request=self._http,
            max_size=self.largest_frame,
            compression=None,
            server_header=None,
            ssl=self.tls,
        )
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    async def stop(self) -> None:
        """Takes no more requests, gives the answers that are due within the grace, and closes the connections."""
        # In this order: no new request begins (`_serve` ends after its present answer), then the answers that are due
        # are waited for, and only then are the connections closed.
        self._draining = True
        limit = time.monotonic() + self.limits.grace
        while self._answering and time.monotonic() < limit:
            await asyncio.sleep(0.01)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def largest_frame(self) -> int:
        """Bytes of the largest frame that a client can need."""
        sizes = sum(int(np.prod(shape)) for shape in self.policy.schema.shapes.values())
        return SPARE_BYTES + WIDEST_NUMBER * self.policy.horizons.observation * sizes

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    def _http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers /healthz and /metrics, and turns strangers away; None lets a websocket through."""
        if request.path == "/healthz":
            stuck = self.batcher.busy_seconds > self.limits.deadline
            state = "the policy hangs" if stuck else "ending" if self._draining else "ok"
            return connection.respond(_status(state == "ok"), f"{state}\n")
        if not self._admits(request):
            self.metrics.rejected.inc()
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "A token is needed: Authorization: Bearer TOKEN\n")
        if (origin := self._foreign(request)) is not None:
            self.metrics.rejected.inc()
            return connection.respond(
                http.HTTPStatus.FORBIDDEN, f"Web pages of {origin} may not connect: origins= names those that may.\n"
            )
        if request.path == "/metrics":
            return connection.respond(http.HTTPStatus.OK, self.metrics.text())
        if self._draining or self._clients >= self.limits.clients:
            self.metrics.rejected.inc()
            return connection.respond(_status(False), f"There are {self._clients} clients already.\n")
        return None

    def _admits(self, request: Request) -> bool:
        if self.token is None:
            return True
        presented = request.headers.get_all("Authorization")
        if len(presented) != 1:  # of two, which one counts? A proxy before the server may think otherwise
            return False
        given = presented[0].encode("utf-8", "replace")
        accepted = [f"{scheme} {self.token}".encode() for scheme in ("Bearer", "Api-Key")]
        return bool(sum(hmac.compare_digest(given, wanted) for wanted in accepted))

    def _foreign(self, request: Request) -> str | None:
        """The origin of a web page that may not connect: a browser lets every page on the internet reach 127.0.0.1."""
        named = request.headers.get_all("Origin")
        return None if not named or (len(named) == 1 and named[0] in self.origins) else reprlib.repr(", ".join(named))

    # -- websocket ----------------------------------------------------------------------------------------------------

    async def _serve(self, connection: ServerConnection) -> None:
        number, calls = self._connections, 0
        self._connections += 1
        self._clients += 1
        self.metrics.connections.inc()
        try:
            await connection.send(self.metadata)
            async for message in connection:
                self._answering += 1
                try:
                    answer = await self._answer(message, (self.seed, number, calls))
                    # A client that does not read fills the socket, and without a limit `send` would wait for ever.
                    async with asyncio.timeout(self.limits.deadline):
                        await connection.send(answer)
                finally:
                    self._answering -= 1
                calls += 1
                if self._draining:
                    break
        except (ConnectionClosed, TimeoutError):  # a client that left, or that does not take its answer
            pass
        finally:
            self._clients -= 1

    async def _answer(self, message: str | bytes, stream: tuple[int, ...]) -> bytes | str:
        """The answer to a frame: a frame, or a text that says what is wrong."""
        began = time.monotonic()
        try:
            call, seconds = self._call(message, stream)
        except (WireError, InputError) as error:
            self.metrics.count("refused")
            return str(error)
        except Exception as error:  # a request is a stranger's: whatever reading it raises is told, and counted
            self.metrics.count("refused")
            return f"The request cannot be read: {type(error).__name__}: {error}"
        try:
            job, chunk = await self._computed(call, seconds)
        except TimeoutError:
            self.metrics.count("late")
            return f"There was no answer within the deadline of {1000 * seconds:.0f} ms."
        except InputError as error:
            self.metrics.count("refused")
            return str(error)
        except Exception as error:  # whatever a policy raises, the connection lives on
            self.metrics.count("failed")
            return f"The policy failed: {type(error).__name__}: {error}"
        now = time.monotonic()
        self.metrics.count("ok")
        self.metrics.request_seconds.observe(now - began)
        self.metrics.infer_seconds.observe(now - job.begun)
        timing: dict[str, float] = {"read_ms": 1e3 * (job.asked - began), "queue_ms": 1e3 * (job.begun - job.asked)}
        timing |= {"infer_ms": 1e3 * (now - job.begun), "rows": job.rows}
        return pack({"actions": chunk[: self.policy.horizons.execution], "ahead": chunk, "server_timing": timing})

    def _call(self, message: str | bytes, stream: tuple[int, ...]) -> tuple[Call, float]:
        """The call that a frame asks for, and the seconds that it may take."""
        if isinstance(message, str):
            raise WireError("This is a text; a request is a binary frame of msgpack.")
        content = unpack(message)
        if not isinstance(content, dict):
            raise WireError(f"A request is a map of observations, not {type(content).__name__}.")
        options = content.pop(OPTIONS, {})
        stream, seconds = self._options(options, stream)
        prefix, left = options.get("prefix"), options.get("left")
        prefix = None if prefix is None else self.policy.check_prefix(prefix)
        left = None if left is None else self.policy.check_actions("left", left)
        return Call(self._history(content), stream, prefix, left), seconds

    def _options(self, options: Any, stream: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
        if not isinstance(options, dict) or options.keys() - OPTION_KEYS:
            raise WireError(f"`{OPTIONS}` is a map of {', '.join(sorted(OPTION_KEYS))}, not {reprlib.repr(options)}.")
        given, deadline = options.get("stream", list(stream)), options.get("deadline_ms", 1000 * self.limits.deadline)
        if (
            not isinstance(given, list)
            or not 0 < len(given) <= LONGEST_STREAM
            or not all(type(n) is int and 0 <= n < 2**63 for n in given)
        ):
            raise WireError(
                f"`stream` is 1 to {LONGEST_STREAM} whole numbers of at least 0, not {reprlib.repr(given)}."
            )
        if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not deadline > 0:
            raise WireError(f"`deadline_ms` is a number above 0, not {reprlib.repr(deadline)}.")
        return tuple(given), min(deadline / 1000, self.limits.deadline)

    def _history(self, content: Mapping[Any, Any]) -> list[dict[str, np.ndarray]]:
        """The last To observations of a request, checked."""
        length = self.policy.horizons.observation
        shapes = self.policy.schema.shapes
        given = {key: decoded(key, content[key], shapes[key]) for key in shapes if key in content}
        arrays = {key: numbers_in(key, value) for key, value in given.items()}
        several = {key for key, value in arrays.items() if value.ndim == len(shapes[key]) + 1}
        for key in several:
            if len(arrays[key]) != length:
                raise InputError(f"`{key}` holds {len(arrays[key])} observations; the policy sees the last {length}.")
        if not several:
            return [self.policy.row(arrays)] * length
        steps = ({key: v[i] if key in several else v for key, v in arrays.items()} for i in range(length))
        return [self.policy.row(step) for step in steps]

    async def _computed(self, call: Call, seconds: float) -> tuple[Job, np.ndarray]:
        """The chunk of a call, computed in the batcher's thread. Raises `TimeoutError` and what the policy raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[np.ndarray] = loop.create_future()

        def answer(chunk: np.ndarray | None, error: Exception | None) -> None:
            # Called from the batcher's thread; a future belongs to its event loop.
            loop.call_soon_threadsafe(_settle, future, chunk, error)

        job = Job(call, time.monotonic() + seconds, answer)
        self.batcher.submit(job)
        # The batcher gives up a job that has not begun by then; one that computes too long is given up here, and its
        # chunk finds a future that is done.
        async with asyncio.timeout(seconds):
            return job, await future


def _settle(future: asyncio.Future[np.ndarray], chunk: np.ndarray | None, error: Exception | None) -> None:
    if future.done():  # nobody waits any more
        return
    if chunk is None:
        future.set_exception(error if error is not None else RuntimeError("there is no chunk"))
    else:
        future.set_result(chunk)


def _status(good: bool) -> http.HTTPStatus:
    return http.HTTPStatus.OK if good else http.HTTPStatus.SERVICE_UNAVAILABLE


def is_loopback(host: str) -> bool:
    """Whether an address reaches no further than this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def described(card: Mapping[str, Any]) -> dict[str, Any]:
    """What a client is told of the policy: the card without what builds it."""
    hidden = {"config", "sha256", "format"}
    return {"protocol": 1, "jpeg": reads_jpeg(), **{key: value for key, value in card.items() if key not in hidden}}
