"""Where the time of a call goes between a control loop and a policy server in another process.

    python scripts/benchmark_wire.py [--rates 50 100] [--delays 0 20 50] [--jitter 5] [--seconds 10] [--quick]

A policy of two cameras of 224 x 224 with random weights behind `isd_policy.deploy.serve`, a robot without a body in
the loop, and between them a proxy that holds all traffic back for half of the delay and a random jitter, each way.
Every row sends pictures as they are and as JPEG. The round trip is split into encode (the client packs), network
(both ways), queue and infer (the server's), decode (the server reads, the client unpacks). Writes `wire.json` and
`wire.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isd_core.support.cli import compose_config, resolved
from isd_core.support.files import atomic_write, write_json
from isd_core.support.progress import Progress
from isd_core.training import checkpoint
from isd_policy.build import KIND, build_policy
from isd_policy.deploy import FakeRobot, Guards, LoopSettings, Runner
from isd_policy.deploy.bundle.packing import pack
from isd_policy.deploy.client import RemotePolicy
from isd_policy.latency import percentiles
from isd_policy.loading import load, load_policy
from isd_policy.normaliser import MinMax
from isd_policy.policy import Normaliser
from scripts.support import command, tables
from scripts.support.command import described, machine

PARTS = ("encode", "network", "queue", "infer", "decode")
SIDE, STATE, ACTION = 224, 7, 7
JPEG = 90
CHUNK = 65_536


def bundle(folder: Path, side: int) -> Path:
    """A bundle of a policy of two cameras with random weights."""
    words = ["data=none", "task=own", "network=unet1d_small"]
    config: dict[str, Any] = resolved(compose_config("policy_train", words))
    shapes = {"left": [side, side, 3], "right": [side, side, 3], "state": [STATE]}
    config["schema"] = {"observations": shapes, "action": ACTION, "constant": [], "env_args": None, "rate": None}
    policy = build_policy(config, Normaliser(*(MinMax(-torch.ones(n), torch.ones(n)) for n in (STATE, ACTION))))
    state, meta = policy.state_dict(), {"kind": KIND, "seed": 0, "config": config} | checkpoint.provenance()
    checkpoint.save(folder / "run", 1, {"model": state, "ema": state}, meta)
    pack(load_policy(checkpoint.load(folder / "run")), folder / "policy.isd")
    return folder / "policy.isd"


@contextlib.contextmanager
def served(path: Path) -> Iterator[int]:
    """The port of a server in another process."""
    words = [f"bundle={path}", "port=0", "batch=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "isd_policy.deploy.serve", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"ws://127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise RuntimeError(f"The server did not start; it says: {line.strip() or 'nothing'}")
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(30)


class Proxy:
    """Connections to `port`, in which what arrives goes on after `delay` seconds and up to `jitter` more.

    The order is kept, as TCP keeps it: what was held back longer holds up what follows.
    """

    def __init__(self, port: int, delay: float, jitter: float, seed: int = 0) -> None:
        self.target, self.delay, self.jitter = port, delay, jitter
        self.rng = np.random.default_rng(seed)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(10)

    async def _start(self) -> int:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except asyncio.CancelledError:  # by `close`
            pass
        finally:
            far_writer.close()
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - self.loop.time()))
                if not data:
                    writer.close()
                    return
                writer.write(data)

        delivering, last = asyncio.create_task(deliver()), 0.0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                last = max(last, self.loop.time() + self.delay + self.jitter * self.rng.random())
                queue.put_nowait((last, data))
        queue.put_nowait((self.loop.time() + self.delay, b""))
        with contextlib.suppress(ConnectionError):
            await delivering

    def close(self) -> None:
        """Ends the connections, and takes no more."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Timed(RemotePolicy):
    """A remote policy that keeps the parts of every call, and the bytes of its request."""

    def __init__(self, url: str, jpeg: int | None) -> None:
        super().__init__(url, retry=0.0, jpeg=jpeg)
        self.calls: list[dict[str, float]] = []

    def infer(self, frame: bytes) -> np.ndarray:
        """As the remote policy does."""
        actions = super().infer(frame)
        self.calls.append({**self.timing, "bytes": len(frame)})
        return actions


def row(
    path: Path, port: int, rate: float, delay_ms: float, jitter_ms: float, jpeg: int | None, seconds: float
) -> dict:
    """A loop of some seconds: percentiles of the parts, and what it meant for the robot."""
    proxy = Proxy(port, delay_ms / 2000, jitter_ms / 1000)
    schema = load(path).schema
    try:
        remote = Timed(f"ws://127.0.0.1:{proxy.port}", jpeg)
        settings = LoopSettings(rate=rate, stale=5.0, hold=5.0)
        driven: Any = remote  # its horizons are the client's own type
        with remote, Runner(FakeRobot(schema), driven, Guards.displacements(ACTION), settings) as runner:
            report = runner.run(ticks=max(1, round(seconds * rate)))
    finally:
        proxy.close()
    calls = remote.calls[-report.counts["calls"] :] or remote.calls
    parts = {part: percentiles([call[part] / 1e3 for call in calls]) for part in PARTS}
    trips = [sum(call[part] for part in PARTS) / 1e3 for call in calls]
    return {
        "rate": rate,
        "delay_ms": delay_ms,
        "jpeg": jpeg,
        "bytes": int(np.median([call["bytes"] for call in calls])),
        "calls": len(calls),
        "parts_ms": parts,
        "round_trip_ms": percentiles(trips),
        "held": report.counts["starved"] / max(1, report.ticks),
        "misses": report.counts["misses"],
        "fault": report.fault,
    }


def markdown(content: dict[str, Any]) -> str:
    """The table: medians of the parts, median and 99th percentile of the round trip."""
    header = ["rate", "added delay", "pictures", "request", *PARTS, "round trip p50 / p99", "ticks held"]
    body = [
        [
            f"{line['rate']:g} Hz",
            f"{line['delay_ms']:g} ms",
            "as they are" if line["jpeg"] is None else f"JPEG {line['jpeg']}",
            f"{line['bytes'] / 1e3:.0f} kB",
            *(f"{line['parts_ms'][part]['p50']:.1f}" for part in PARTS),
            f"{line['round_trip_ms']['p50']:.1f} / {line['round_trip_ms']['p99']:.1f}",
            f"{100 * line['held']:.0f} %",
        ]
        for line in content["rows"]
    ]
    made = (
        f"Milliseconds. Two cameras of {content['side']} x {content['side']} of noise, which JPEG compresses worst, "
        f"jitter up to {content['jitter_ms']:g} ms each way, {content['seconds']:g} s a row, on "
        f"{described(content['machine'])}."
    )
    return f"{tables.markdown(header, body)}\n\n{made}\n"


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark_wire.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 100], help="ticks of the loop a second")
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 20, 50], help="added to a round trip, in ms")
    parser.add_argument("--jitter", type=float, default=5.0, help="random delay of each way, at most, in ms")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a row")
    parser.add_argument("--quick", action="store_true", help="one short row of each kind, with small pictures")
    parser.add_argument("--out", type=Path, default=Path("runs/wire"), help="the folder of the results")
    return parser


def run(given: argparse.Namespace) -> int:
    """Measures what the flags ask for, prints the table and writes it; returns the exit code."""
    if given.quick:
        given.rates, given.delays, given.seconds = [20], [0, 20], 1.0
    torch.set_num_threads(1)
    side = 32 if given.quick else SIDE
    cells = [(r, d, jpeg) for r in given.rates for d in given.delays for jpeg in (None, JPEG)]
    with tempfile.TemporaryDirectory() as folder:
        path = bundle(Path(folder), side)
        with served(path) as port, Progress(len(cells), "loops", "row") as bar:
            rows = []
            for rate, delay, jpeg in cells:
                rows.append(row(path, port, rate, delay, given.jitter, jpeg, given.seconds))
                bar.update(1)
    content = {"side": side, "jitter_ms": given.jitter, "seconds": given.seconds, "machine": machine(), "rows": rows}
    write_json(given.out / "wire.json", content)
    with atomic_write(given.out / "wire.md") as temporary:
        temporary.write_text(markdown(content))
    print(markdown(content))
    print(f"Written: {given.out}/wire.json, wire.md.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
