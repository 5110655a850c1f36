"""The scheduler of actions: asks the policy early enough, merges what arrives, and keeps a record of every chunk."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import numpy as np

from isd_core.support.history import ObservationHistory
from isd_policy.backend import Call, Row
from isd_policy.deploy.loop.action_buffer import ActionBuffer
from isd_policy.deploy.loop.clock import Clock
from isd_policy.deploy.loop.guards import Guards
from isd_policy.deploy.loop.inference import ROUNDING, Inference, Reply, Request
from isd_policy.deploy.loop.report import ChunkRecord, Report
from isd_policy.deploy.loop.settings import LoopSettings

LATENCIES = 64
"""The last calls, by which the next request is timed."""


class ChunkScheduler:
    """Actions for the epoch since the last `reset`, from chunks that `inference` computes from the last observations.

    bad: how many chunks in a row could not be used; rejected: how many of the last ones in a row were rejected, which
    says that the policy is broken, while a call that failed may only have found no server. longest_prefix: of the
    policy, where it is told what the robot does while its calls run.
    """

    def __init__(
        self,
        inference: Inference,
        history: ObservationHistory[Row],
        execution: int,
        guards: Guards,
        settings: LoopSettings,
        clock: Clock,
        report: Report,
        longest_prefix: int | None = None,
    ) -> None:
        self.inference, self.history, self.guards = inference, history, guards
        self.settings, self.clock, self.report = settings, clock, report
        self.buffer = ActionBuffer(execution, settings.blend, settings.mode == "async", guards.turns)
        self.latencies: deque[float] = deque(maxlen=LATENCIES)
        self.consumed: deque[int] = deque(maxlen=LATENCIES)
        """Actions that were taken during each of the last calls."""
        told = settings.prefix and settings.mode == "async" and longest_prefix is not None
        self.longest_prefix = (longest_prefix or 0) if told else 0
        self.epoch, self._number, self.lead = -1, 0, 0
        self.time(())
        self._asked: dict[int, ChunkRecord] = {}
        self._forget()

    def reset(self) -> None:
        """Begins an epoch: chunks for observations before it are discarded when they arrive."""
        self.epoch += 1
        self.report.counts["epochs"] += 1
        self._forget()

    def _forget(self) -> None:
        self.history.clear()
        self.buffer.clear()
        self._open: Request | None = None
        self._current: ChunkRecord | None = None
        self._planned = False
        self.failure = ""
        self.bad = self.rejected = self._calls = 0

    # -- asking -------------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Asks for the next chunk if it is time, none is on its way, and the newest observation is not too old.

        While the policy still computes for an epoch that is over, every new observation replaces the one that waits.
        """
        if self.buffer.fresh > self.lead or self.clock.now() - self.history.time > self.settings.stale:
            return
        # A request that waits behind a call of an epoch that is over (or of the warm-up) has not begun: replacing it
        # costs nothing, and when its turn comes it holds the newest observation.
        if self._open is None or self.inference.running not in (None, self._open):
            self._submit()

    def time(self, latencies: Iterable[float]) -> None:
        """Takes further latencies (s) into account for `lead`: the ticks before the end of the executed part at which
        the next chunk is asked for.
        """
        self.latencies.extend(latencies)
        if self.settings.mode == "sync":
            self.lead = 0
        elif self.settings.lead is not None:
            self.lead = self.settings.lead
        else:
            usual = float(np.percentile(self.latencies, 95)) if self.latencies else 0.0
            self.lead = min(max(1, math.ceil(usual / self.settings.period - ROUNDING)), self.buffer.execution)

    def request(self) -> Request:
        """The next request, with the present history and what the robot would be given from now on."""
        stream, left = (self.settings.seed, self.epoch, self._calls), self.buffer.ahead(self.buffer.left)
        call = Call(self.history.rows(), stream, self._prefix(), left.astype(np.float32) if len(left) else None)
        return Request(self._number, self.epoch, self.buffer.taken, call, self.clock.now())

    @property
    def delay(self) -> int:
        """The actions that will have been taken when the next chunk arrives: as many as during the last calls (the 95th
        percentile), or before there were any, by their latency.
        """
        if self.consumed:
            return int(np.percentile(self.consumed, 95, method="higher"))
        return self.lead if self.settings.lead is None else 0

    def _prefix(self) -> np.ndarray | None:
        """[d, Da] the next actions, for a policy that is told them; None where nothing is planned."""
        ahead = self.buffer.ahead(min(self.delay, self.longest_prefix))
        return ahead.astype(np.float32) if len(ahead) else None

    def _submit(self) -> None:
        request = self.request()
        if self.inference.submit(request) and self._open is not None:
            self.report.counts["superseded"] += 1
            self._asked.pop(self._open.number).outcome = "superseded"
        told = 0 if request.call.prefix is None else len(request.call.prefix)
        record = ChunkRecord(request.number, self.report.since(request.time), told)
        self._open, self._asked[request.number] = request, record
        self.report.chunks.append(self._asked[request.number])
        self._number += 1
        self._calls += 1

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self) -> None:
        """Merges what has arrived."""
        while (reply := self.inference.take()) is not None:
            self._merge(reply)

    def wait(self, until: float) -> bool:
        """Merges the next reply if it arrives before the moment `until`; whether one did."""
        if (reply := self.inference.wait(until)) is None:
            return False
        self._merge(reply)
        return True

    def _merge(self, reply: Reply) -> None:
        counts, windows, began = self.report.counts, self.report.windows, self.clock.now()
        record = self._asked.pop(reply.request.number, None)
        if record is None:  # the last call of a warm-up that ran out of time
            return
        record.arrived = self.report.since(reply.done)
        counts["calls"] += 1
        if reply.actions is not None:
            windows["policy"].append(reply.preprocess + reply.infer)
            windows["preprocess"].append(reply.preprocess)
            windows["infer"].append(reply.infer)
        if reply.request.epoch != self.epoch:  # a call cannot be stopped; its answer is for a robot that was elsewhere
            counts["reset"] += 1
            record.outcome = "reset"
            return
        self._open = None
        self.time([reply.done - reply.request.time])
        if (reason := self._unusable(reply)) is not None:
            record.outcome, self.failure = reason
            counts[record.outcome] += 1
            self.bad += 1
            self.rejected = self.rejected + 1 if record.outcome == "rejected" else 0
            self.report.event(self.clock.now(), self.failure)
            return
        assert reply.actions is not None
        self.bad = self.rejected = 0
        record.length = len(reply.actions)
        self._measure(record, self.buffer.taken - reply.request.taken)
        merged = self.buffer.merge(reply.actions, reply.request.taken)
        if merged is None:
            record.outcome, record.dropped = "stale", record.length
            counts["stale"] += 1
            return
        record.dropped, record.blended, record.outcome = merged.dropped, merged.blended, "used"
        record.border = self.report.ticks + max(0, record.told - merged.dropped)
        self._current = record
        windows["postprocess"].append(self.clock.now() - began)

    def _measure(self, record: ChunkRecord, taken: int) -> None:
        """Notes how many actions were taken during a call."""
        if not self._planned:  # an epoch's first chunk: there was nothing to take
            self._planned = True
            return
        self.consumed.append(taken)
        self.report.counts["beyond"] += self.longest_prefix > 0 and taken > record.told

    def _unusable(self, reply: Reply) -> tuple[str, str] | None:
        """(outcome, what happened) of a reply without a chunk that the robot may be given."""
        if reply.actions is None:
            return "failed", f"a call of the policy failed: {reply.error}"
        if (objection := self.guards.objection(reply.actions)) is not None:
            return "rejected", f"a chunk was rejected: {objection}"
        return None

    # -- giving -------------------------------------------------------------------------------------------------------

    def next(self, until: float) -> np.ndarray | None:
        """The next action [Da]; where there is none, but one is on its way, it waits until the moment `until`."""
        while not self.buffer.ready and self._open is not None and self.wait(until):
            pass
        if self.buffer.ready and self._current is not None:
            self._current.use(self.report.since(self.clock.now()))
            self.report.counts["reserve"] += self.buffer.fresh <= 0
        return self.buffer.next()

    def reason(self) -> str:
        """Why there is no action, as far as the policy is to blame."""
        running, now = self.inference.running, self.clock.now()
        if self.bad:
            return f"{self.bad} calls of the policy in a row gave no usable chunk; the last one: {self.failure}"
        if running is not None:
            return f"call {running.number} of the policy has been running for {now - running.time:.2f} s"
        return "the policy was not asked"
