"""A server in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from contextlib import contextmanager
from urllib.error import HTTPError

from isd_policy.deploy.serve.batcher import DynamicBatcher
from isd_policy.deploy.serve.server import Limits, PolicyServer


class Running:
    """A server that listens; `stop` ends it as a signal would."""

    def __init__(self, policy, card, batcher, port=0, **options):
        self.batcher = batcher
        self.loop = asyncio.new_event_loop()
        self.server = PolicyServer(policy, card, batcher, port=port, **options)
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result(10)
        self.url = f"ws://127.0.0.1:{self.port}"

    def stop(self):
        if not self.thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)

    def get(self, path, token=None):
        """(status, text) of a page."""
        headers = {} if token is None else {"Authorization": token}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def running(policy, card, port=0, batch=8, batcher=None, **options):
    """A server of a policy for the length of a block."""
    batcher = DynamicBatcher(policy, batch) if batcher is None else batcher
    server = Running(policy, card, batcher, port, **options)
    try:
        yield server
    finally:
        server.stop()
        batcher.close()


SHORT = Limits(deadline=0.3, clients=64, grace=1.0)
