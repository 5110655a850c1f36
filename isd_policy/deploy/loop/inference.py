"""Where a policy is called: in a thread beside the control loop, or in simulated time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from isd_policy.backend import Call
from isd_policy.deploy.loop.clock import Clock
from isd_policy.deploy.loop.robot import ChunkPolicy

ROUNDING = 1e-9
"""Seconds by which sums of simulated periods may miss each other."""


@dataclass(frozen=True)
class Request:
    """Asks for a chunk. number: of the request; epoch: of the reset before it; taken: actions taken since; time (s)."""

    number: int
    epoch: int
    taken: int
    call: Call
    time: float


@dataclass(frozen=True)
class Reply:
    """What a policy gave for a chunk [n, Da], unchecked, or why there is none.

    begun and done: moments on the loop's clock; durations in seconds.
    """

    request: Request
    actions: np.ndarray | None
    error: str | None
    begun: float
    done: float
    preprocess: float = 0.0
    infer: float = 0.0


class Inference(Protocol):
    """One call of the policy at a time; of the requests that wait, the newest wins."""

    @property
    def running(self) -> Request | None:
        """The request that is being computed."""

    def submit(self, request: Request) -> bool:
        """Asks; true when an older request that had not begun was given up for this one. Never blocks."""

    def take(self) -> Reply | None:
        """A reply that is there, the oldest first. Never blocks."""

    def wait(self, until: float) -> Reply | None:
        """The next reply, or None when there is none at the moment `until`."""

    def close(self) -> None:
        """Ends; a call that never returns is left behind."""


def answer(policy: ChunkPolicy, request: Request, clock: Clock) -> Reply:
    """Calls the policy; an exception becomes a reply that says so."""
    begun = clock.now()
    try:
        inputs = policy.preprocess([request.call])
        ready = clock.now()
        actions = policy.infer(inputs)[0]
    except Exception as error:  # whatever a policy raises, the robot must get its next action
        return Reply(request, None, f"{type(error).__name__}: {error}", begun, clock.now())
    done = clock.now()
    return Reply(request, actions, None, begun, done, ready - begun, done - ready)


class InferenceThread:
    """Calls the policy in a thread of its own.

    The loop's thread submits and takes, this one computes. One condition guards the two hand-over places, the request
    that waits and the replies that are there; the policy is called outside of it, so that the loop never waits for a
    call that hangs.
    """

    def __init__(self, policy: ChunkPolicy, clock: Clock) -> None:
        self.policy, self.clock = policy, clock
        self._changed = threading.Condition()
        self._waiting: Request | None = None
        self._running: Request | None = None
        self._replies: list[Reply] = []
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    @property
    def running(self) -> Request | None:
        return self._running  # one reference, which is read whole without the lock

    def submit(self, request: Request) -> bool:
        with self._changed:
            # One place, not a queue: while a call runs, every tick brings a newer observation, and the older ones
            # would only be answered late.
            replaced = self._waiting is not None
            self._waiting = request
            self._changed.notify_all()
        return replaced

    def take(self) -> Reply | None:
        with self._changed:
            return self._replies.pop(0) if self._replies else None

    def wait(self, until: float) -> Reply | None:
        with self._changed:
            self._changed.wait_for(lambda: self._replies, timeout=max(0.0, until - self.clock.now()))
            return self._replies.pop(0) if self._replies else None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # A call that never returns cannot be ended from here; the thread is a daemon, so the process still ends.
        self._thread.join(timeout=1.0)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                if self._closed or self._waiting is None:
                    return
                self._running, self._waiting = self._waiting, None
                request = self._running
            # Outside of the lock: `submit` and `take` go on while the policy computes.
            reply = answer(self.policy, request, self.clock)
            with self._changed:
                # Together: a loop that sees nothing running finds the reply.
                self._running = None
                self._replies.append(reply)
                self._changed.notify_all()


class DelayedInference:
    """Calls the policy at once and hands its reply out later, as if the call had taken `delay(request)` seconds."""

    def __init__(self, policy: ChunkPolicy, clock: Clock, delay: Callable[[Request], float]) -> None:
        self.policy, self.clock, self.delay = policy, clock, delay
        self._waiting: Request | None = None
        self._reply: Reply | None = None

    @property
    def running(self) -> Request | None:
        self._begin_next()
        return None if self._reply is None else self._reply.request

    def submit(self, request: Request) -> bool:
        self._begin_next()
        replaced = self._waiting is not None
        self._waiting = request
        self._begin_next()
        return replaced

    def take(self) -> Reply | None:
        self._begin_next()
        if self._reply is None or self._reply.done > self.clock.now() + ROUNDING:
            return None
        reply, self._reply = self._reply, None
        return reply

    def wait(self, until: float) -> Reply | None:
        self._begin_next()
        self.clock.sleep_until(until if self._reply is None else min(until, self._reply.done))
        return self.take()

    def close(self) -> None:
        self._waiting = self._reply = None

    def _begin_next(self) -> None:
        if self._reply is not None or self._waiting is None:
            return
        request, self._waiting = self._waiting, None
        begun, delay = self.clock.now(), self.delay(request)
        reply = answer(self.policy, request, self.clock)
        self._reply = replace(reply, begun=begun, done=begun + delay, infer=delay)
