"""Calls of the policy before a loop is armed, until the first slow ones are over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isd_policy.deploy.loop.clock import Clock
from isd_policy.deploy.loop.inference import Inference, Reply, Request
from isd_policy.deploy.loop.report import WarmUp

NUMBER = -1
"""Of the requests here: no request of a loop has it."""
GROUP = 10
TAIL = 90
"""The percentile of a group's latencies that has to settle."""
FALLING = 0.8
"""A tail below this share of the last group's is still falling."""


def warm_up(inference: Inference, request: Request, clock: Clock, seconds: float) -> tuple[WarmUp, list[float]]:
    """Calls the policy in groups until the tail of their latencies has stopped falling, or for `seconds`.

    The calls run where the loop's calls will. Also returns the last group's latencies (s), fewer where time ran out.
    """
    request = replace(request, number=NUMBER)
    began, calls, before = clock.now(), 0, float("inf")
    while True:
        group: list[float] = []
        while len(group) < GROUP:
            if (reply := _call(inference, request, clock, began + seconds)) is None:
                return WarmUp(calls, clock.now() - began, False), group
            calls += 1
            group.append(reply.done - reply.begun)
        tail = float(np.percentile(group, TAIL))
        if tail > FALLING * before:
            return WarmUp(calls, clock.now() - began, True), group
        before = tail


def _call(inference: Inference, request: Request, clock: Clock, limit: float) -> Reply | None:
    if clock.now() >= limit:
        return None
    inference.submit(request)
    return inference.wait(limit)
