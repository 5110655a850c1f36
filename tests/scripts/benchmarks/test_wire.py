"""The wire benchmark's proxy holds traffic back in its order, and its table says where the time went."""

import socket
import threading
import time

import pytest

from scripts.benchmarks.wire import PARTS, Proxy, markdown
from scripts.support.command import machine


@pytest.fixture
def echo():
    """The port of a server that sends back what it gets."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.close()


@pytest.mark.parametrize("delay, jitter", [(0.0, 0.0), (0.05, 0.02)])
def test_what_goes_through_comes_back_whole_in_order_and_late(echo, delay, jitter):
    proxy = Proxy(echo, delay, jitter)
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
            began = time.monotonic()
            sent = b"".join(bytes([number]) * 1000 for number in range(100))
            connection.sendall(sent)
            got = b""
            while len(got) < len(sent):
                got += connection.recv(65536)
            assert got == sent
            assert time.monotonic() - began >= 2 * delay
    finally:
        proxy.close()


def test_closing_ends_open_connections(echo):
    proxy = Proxy(echo, 0.0, 0.0)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        proxy.close()
        assert connection.recv(1) == b""


def test_the_table_has_the_parts_of_the_round_trip():
    found = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}
    line = {"rate": 50, "delay_ms": 20, "jpeg": None, "bytes": 602_112, "calls": 9, "held": 0.25, "misses": 0}
    line |= {"parts_ms": dict.fromkeys(PARTS, found), "round_trip_ms": found}
    text = markdown(
        {"rows": [line, line | {"jpeg": 90}], "side": 224, "jitter_ms": 5, "seconds": 10, "machine": machine()}
    )
    assert "| 50 Hz | 20 ms | as they are | 602 kB | 1.0 | 1.0 | 1.0 | 1.0 | 1.0 | 1.0 / 3.0 | 25 % |" in text
    assert "JPEG 90" in text
