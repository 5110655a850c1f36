"""What happened in a control loop: counts, latencies over a sliding window, the last chunks and events."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

from isd_policy.latency import percentiles

WINDOW = 4096
"""Latencies that a window holds: the report tells of the last ones, however long the loop runs."""
CHUNKS = 256
EVENTS = 128
PARTS = ("policy", "observe", "preprocess", "infer", "postprocess", "robot", "tick", "late", "jitter")


@dataclass
class ChunkRecord:
    """One request for a chunk; times in seconds since the report's zero.

    told: actions that the policy was told the robot would take meanwhile; dropped: those that it took, which had passed
    when the chunk arrived; blended: those that it shares with the chunk before; border: the tick of the first action
    that the chunk itself decided; used: actions that the robot was given; outcome: waiting | used | stale | reset |
    rejected | failed | superseded.
    """

    number: int
    requested: float
    told: int = 0
    arrived: float | None = None
    border: int | None = None
    dropped: int = 0
    blended: int = 0
    used: int = 0
    length: int = 0
    outcome: str = "waiting"
    first: float | None = None
    last: float | None = None

    def use(self, now: float) -> None:
        """One of its actions goes to the robot."""
        self.used += 1
        self.first = now if self.first is None else self.first
        self.last = now


@dataclass
class WarmUp:
    """Calls before the loop was armed; settled: whether their tail had stopped falling."""

    calls: int = 0
    seconds: float = 0.0
    settled: bool = False


@dataclass
class Report:
    """What happened, in bounded memory.

    Windows hold seconds: `policy` a call of the policy, of which `preprocess` and `infer` are parts; `observe` the
    robot's read, `robot` its read and write together; `postprocess` checks and merging; `tick` a tick without its
    sleep; `late` how long after its deadline it began; `jitter` how far the time between two writes was from the
    period. counts: see `to_dict`. zero: the clock when
    the runner was made, from which chunks and events (seconds, what happened) count.
    """

    period: float
    zero: float
    fault: str | None = None
    armed_seconds: float = 0.0
    warm_up: WarmUp = field(default_factory=WarmUp)
    counts: Counter[str] = field(default_factory=Counter)
    windows: dict[str, deque[float]] = field(default_factory=lambda: {part: deque(maxlen=WINDOW) for part in PARTS})
    chunks: deque[ChunkRecord] = field(default_factory=lambda: deque(maxlen=CHUNKS))
    events: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=EVENTS))

    def since(self, now: float) -> float:
        """A moment of the loop's clock as seconds since `zero`."""
        return now - self.zero

    def event(self, now: float, text: str) -> None:
        """Notes what happened."""
        self.events.append((self.since(now), text))

    def borders(self, begin: int) -> list[int]:
        """The ticks since tick `begin` at which the actions of a further chunk began, as far as they are remembered."""
        found = [chunk.border - begin for chunk in self.chunks if chunk.border is not None and chunk.border >= begin]
        return [border for border in found if border > 0]

    @property
    def ticks(self) -> int:
        """Actions, or the stop, that the robot was given."""
        return self.counts["ticks"]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: counts, percentiles in milliseconds, every policy call of the window for a histogram."""
        counts = self.counts
        return {
            "rate": 1 / self.period,
            "ticks": self.ticks,
            "deadline_misses": counts["misses"],
            "skipped_ticks": counts["skipped"],
            "clock_steps": counts["clock_steps"],
            "episodes": counts["epochs"],
            "resets": max(0, counts["epochs"] - 1),
            "policy_calls": counts["calls"],
            "clipped_actions": counts["clipped"],
            "slowed_actions": counts["slowed"],
            "boxed_actions": counts["boxed"],
            "rejected_chunks": counts["rejected"],
            "stale_chunks": counts["stale"],
            "chunks_beyond_their_prefix": counts["beyond"],
            "discarded_by_reset": counts["reset"],
            "superseded_requests": counts["superseded"],
            "failed_calls": counts["failed"],
            "reserve_ticks": counts["reserve"],
            "starved_ticks": counts["starved"],
            "refused_observations": counts["refused"],
            "fault": self.fault,
            "armed_seconds": self.armed_seconds,
            "warm_up": asdict(self.warm_up),
            "window": WINDOW,
            "latency_ms": percentiles(self.windows["policy"]),
            **{f"{part}_ms": percentiles(self.windows[part]) for part in PARTS if part != "policy"},
            "policy_calls_ms": [1e3 * seconds for seconds in self.windows["policy"]],
            "chunks": [asdict(chunk) for chunk in self.chunks],
            "events": [{"seconds": seconds, "event": event} for seconds, event in self.events],
        }

    @property
    def deadlines(self) -> str:
        """How the deadlines were kept."""
        return deadlines(self.ticks, self.counts["misses"], self.counts["skipped"])

    def sentence(self) -> str:
        """The counts that tell how it went, in one line."""
        content = self.to_dict()
        latency = content["latency_ms"] or dict.fromkeys(("p50", "p95", "p99", "max"), float("nan"))
        unusual = {
            "ticks without an action": content["starved_ticks"],
            "on the reserve of a chunk": content["reserve_ticks"],
            "chunks that came too late": content["stale_chunks"],
            "calls that failed": content["failed_calls"],
            "chunks rejected": content["rejected_chunks"],
            "actions clipped": content["clipped_actions"],
        }
        parts = [f"{count} {name}" for name, count in unusual.items() if count]
        return (
            f"{self.deadlines}; policy {latency['p50']:.1f} ms p50, "
            f"{latency['p95']:.1f} p95, {latency['p99']:.1f} p99, {latency['max']:.1f} max over "
            f"{content['policy_calls']} calls" + "".join(f"; {part}" for part in parts)
        )


def deadlines(ticks: int, missed: int, skipped: int) -> str:
    """`1 of 100 deadlines missed, 20 skipped`: one tick ran over so many, at which nothing was done."""
    return f"{missed} of {ticks} deadlines missed" + (f", {skipped} skipped" if skipped else "")
