"""Counts and times of a server, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds (s) of the latency histograms."""
OUTCOMES = ("ok", "refused", "failed", "late")


@dataclass
class Histogram:
    """How many values lay below each bound."""

    counts: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    total: float = 0.0
    number: int = 0

    def add(self, seconds: float) -> None:
        """One more value."""
        self.total += seconds
        self.number += 1
        for index, bound in enumerate(BUCKETS):
            self.counts[index] += seconds <= bound

    def lines(self, name: str, help_text: str) -> list[str]:
        """In Prometheus' words."""
        return [
            f"# HELP {name} {help_text}",
            f"# TYPE {name} histogram",
            *(f'{name}_bucket{{le="{bound:g}"}} {count}' for bound, count in zip(BUCKETS, self.counts, strict=True)),
            f'{name}_bucket{{le="+Inf"}} {self.number}',
            f"{name}_sum {self.total:.9g}",
            f"{name}_count {self.number}",
        ]


class Metrics:
    """What a server counts; requests by their outcome (see `OUTCOMES`)."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.connections = self.rejected = self.clients = self.rows = self.batches = 0
        self.request_seconds, self.infer_seconds = Histogram(), Histogram()

    def text(self, waiting: int) -> str:
        """The page at /metrics. waiting: requests that have not begun."""
        lines = ["# HELP isd_requests_total Requests by outcome.", "# TYPE isd_requests_total counter"]
        lines += [f'isd_requests_total{{outcome="{outcome}"}} {self.requests[outcome]}' for outcome in OUTCOMES]
        for name, kind, help_text, value in (
            ("isd_connections_total", "counter", "Connections accepted.", self.connections),
            ("isd_connections_rejected_total", "counter", "Connections refused.", self.rejected),
            ("isd_clients", "gauge", "Connections open.", self.clients),
            ("isd_requests_waiting", "gauge", "Requests that have not begun.", waiting),
        ):
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", f"{name} {value}"]
        lines += self.request_seconds.lines("isd_request_seconds", "Time from a request to its answer.")
        lines += self.infer_seconds.lines("isd_infer_seconds", "Time of the policy for a request.")
        return "\n".join(lines) + "\n"
