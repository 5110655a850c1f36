"""Frames that no client of ours would send: each is answered by a reason or by finite actions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import isd_policy
from isd_core.training import checkpoint
from isd_policy.deploy.bundle import folder
from isd_policy.deploy.client.wire import ARRAY, DATA, DTYPE, SHAPE, pack, unpack
from isd_policy.deploy.serve.batcher import DynamicBatcher
from isd_policy.deploy.serve.server import PolicyServer
from scripts.benchmarks.attacks import material
from scripts.benchmarks.attacks.tally import ERROR, REFUSED, UNHARMED, Tally, same

ANSWER_SECONDS = 10.0
EVERY = 50
"""Hostile frames between two of an honest client."""
FAILED = "The policy failed"
"""How an answer begins that tells of an exception of the policy; actions that are not finite are refused on purpose."""
Frame = bytes | str


@contextmanager
def served(path: Path) -> Iterator[PolicyServer]:
    """The server of a bundle, in a thread, for the length of a block; `port` is where it listens."""
    policy = isd_policy.load(path)
    batcher, loop = DynamicBatcher(policy, 8), asyncio.new_event_loop()
    server = PolicyServer(policy, folder.read(path).meta, batcher)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server.port = asyncio.run_coroutine_threadsafe(server.start(), loop).result(ANSWER_SECONDS)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(2 * ANSWER_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        batcher.close()


def request(seed: int, **changes: Any) -> dict[Any, Any]:
    """What an honest client sends, whose noise does not depend on the connection."""
    return material.observation(seed) | {"isd": {"stream": [seed]}} | changes


def noise_bytes(rng: np.random.Generator) -> Frame:
    """Anything."""
    return rng.bytes(int(rng.integers(0, 2000)))


def cut(rng: np.random.Generator) -> Frame:
    """A request that ends too early."""
    whole = pack(request(int(rng.integers(100))))
    return whole[: int(rng.integers(len(whole)))]


def changed(rng: np.random.Generator) -> Frame:
    """A request with some bytes changed."""
    frame = bytearray(pack(request(int(rng.integers(100)))))
    for at in rng.integers(len(frame), size=int(rng.integers(1, 9))):
        frame[at] = int(rng.integers(256))
    return bytes(frame)


def wrong_array(rng: np.random.Generator) -> Frame:
    """A request in which one array says of itself what is not so."""
    key = str(rng.choice(list(material.OBSERVATIONS)))
    array: dict[bytes, Any] = {ARRAY: True, DATA: bytes(40), DTYPE: "<f4", SHAPE: [10]}
    field, values = WRONG[int(rng.integers(len(WRONG)))]
    array[field] = values[int(rng.integers(len(values)))]
    return packed(request(0, **{key: array}))


WRONG: tuple[tuple[bytes, tuple[Any, ...]], ...] = (
    (DTYPE, ("O", "V8", "<M8[s]", "S4", "U4", "<c8", "f4,f4", "<f2", "({'a': 1})", 7, None, b"\xff", "x" * 10_000)),
    (SHAPE, ([2**62], [2**63 - 1, 2], [-10], [10.0], ["10"], [0], [], None, "10", [1] * 70, [True], [2, 5], [1, 10])),
    (DATA, (b"", bytes(39), "x" * 40, None, 7, [0.0] * 10, bytes(4000))),
)


def wrong_value(rng: np.random.Generator) -> Frame:
    """A request in which something stands in the place of an array or of the options."""
    key = str(rng.choice([*material.OBSERVATIONS, "isd", "stranger"]))
    value = VALUES[int(rng.integers(len(VALUES)))]
    return packed(request(0, **{key: value}))


def _nested(depth: int) -> Any:
    value: Any = 0.0
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    None, True, 7, 2**63, -1.5, float("nan"), float("inf"), 1e300, "text", "nan", b"bytes", [], {}, [[]], [1, [2, 3]],
    [1.0] * 10, ["1"] * 10, [None] * 10, {"a": 1}, {1: 2}, _nested(30), _nested(400), msgpack.ExtType(1, b"pickle"),
    msgpack.Timestamp(0), {"stream": [-1]}, {"stream": ["0"]}, {"stream": [2**63]}, {"deadline_ms": -1},
    {"deadline_ms": float("nan")}, {"deadline_ms": "5"}, {"unknown": 1}, [float("nan")] * 10, [1e20] * 10,
)  # fmt: skip


def wrong_number(rng: np.random.Generator) -> Frame:
    """A request with numbers that no robot has."""
    key = str(rng.choice(list(material.OBSERVATIONS)))
    values = np.array(rng.choice([np.nan, np.inf, -np.inf, 1e20, -1e20, 3e38, 1e-45], material.OBSERVATIONS[key]))
    with np.errstate(over="ignore"):
        return pack(request(0, **{key: values.astype(rng.choice(["<f4", "<f8"]))}))


def lying_length(rng: np.random.Generator) -> Frame:
    """A few bytes that announce billions, or nest without end."""
    heads = (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9")
    if rng.integers(2):
        return heads[int(rng.integers(len(heads)))] + b"\xff\xff\xff\xff" + rng.bytes(20)
    return bytes(rng.choice([b"\x91", b"\x81\xa1a", b"\x81\x91"])) * int(rng.integers(500, 20_000))


def text(rng: np.random.Generator) -> Frame:
    """A text frame."""
    return str(rng.choice(["", "{}", "null", "A" * 5000, "\u0000", "GET / HTTP/1.1"]))


def too_long(rng: np.random.Generator) -> Frame:
    """More than the server takes."""
    return bytes(int(rng.integers(200_000, 2_000_000)))


KINDS: dict[str, Callable[[np.random.Generator], Frame]] = {
    "random bytes": noise_bytes, "a request cut short": cut, "a request with changed bytes": changed,
    "an array that contradicts itself": wrong_array, "other things in an array's place": wrong_value,
    "NaN, infinite and huge numbers": wrong_number, "lengths that lie, nesting without end": lying_length,
    "texts": text, "frames that are too long": too_long,
}  # fmt: skip


def packed(content: Any) -> bytes:
    """msgpack without the checks of our own client."""
    frame: bytes = msgpack.packb(content, default=_raw)
    return frame


def _raw(value: np.ndarray) -> Any:
    return {ARRAY: True, DATA: value.tobytes(), DTYPE: value.dtype.str, SHAPE: list(value.shape)}


class Sender:
    """A connection that is made again where the server closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection: ClientConnection | None = None
        self._open = ExitStack()

    def close(self) -> None:
        """Closes the connection, if there is one."""
        self._open.close()
        self._connection = None

    def answer(self, frame: Frame) -> Any:
        """What the server says: a text, or the content of its frame. Raises `ConnectionClosed` and `TimeoutError`."""
        if self._connection is None:
            made = connect(f"ws://127.0.0.1:{self.port}", max_size=None, compression=None)
            self._connection = self._open.enter_context(made)
            self._connection.recv(ANSWER_SECONDS)  # the description
        try:
            self._connection.send(frame)
            message = self._connection.recv(ANSWER_SECONDS)
        except BaseException:
            self.close()
            raise
        return message if isinstance(message, str) else unpack(message)


def verdict(sender: Sender, frame: Frame) -> str:
    """`REFUSED` with a reason, `UNHARMED` where it was answered by finite actions, or what else happened."""
    try:
        said = sender.answer(frame)
    except TimeoutError:
        return f"{ERROR}no answer within {ANSWER_SECONDS:g} s"
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else None
        return REFUSED if code in (1003, 1007, 1009) else f"{ERROR}the connection was closed with {code}"
    if isinstance(said, str):
        return f"{ERROR}{said[:150]}" if said.startswith(FAILED) and "FloatingPointError" not in said else REFUSED
    return UNHARMED if np.isfinite(said["ahead"]).all() else "actions that are not finite"


def frames(out: Path, tries: int, seed: int) -> list[Tally]:
    """`tries` frames, in turn of every kind, with an honest client in between, whose actions stay the same."""
    saved = checkpoint.load(material.write_checkpoint(out / "run", seed))
    bundle = material.write_bundle(out / "policy.isd", saved)
    tallies, honest = {kind: Tally(f"frames: {kind}") for kind in KINDS}, Tally("an honest client meanwhile")
    with served(bundle) as server:
        sender, client, expected = Sender(server.port), Sender(server.port), None
        for number in range(tries):
            kind = list(KINDS)[number % len(KINDS)]
            rng = np.random.default_rng([seed, number])
            tallies[kind].count(f"frame {number}", verdict(sender, KINDS[kind](rng)))
            if number % EVERY == 0:
                try:
                    actions = client.answer(pack(request(1)))["actions"]
                except (TimeoutError, ConnectionClosed, TypeError) as error:
                    honest.count(f"after frame {number}", f"{ERROR}no answer ({type(error).__name__})")
                    continue
                expected = actions if expected is None else expected
                honest.count(f"after frame {number}", UNHARMED if same(actions, expected) else "other actions")
        sender.close()
        client.close()
    return [*tallies.values(), honest]
