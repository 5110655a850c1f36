"""What a server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds (s) of the latency histograms."""
OUTCOMES = ("ok", "refused", "failed", "late")


class Metrics:
    """One server's counters, in a registry of its own, so that two servers in a process do not share them.

    requests: by their outcome (see `OUTCOMES`); connections: accepted; rejected: connections refused; clients:
    connections open; waiting: requests that have not begun; request_seconds: from a request to its answer;
    infer_seconds: of the policy for a request.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("isd_requests", "Requests by outcome.", ["outcome"], registry=own)
        for outcome in OUTCOMES:
            self.requests.labels(outcome)  # stands on the page from the first moment on
        self.connections = Counter("isd_connections", "Connections accepted.", registry=own)
        self.rejected = Counter("isd_connections_rejected", "Connections refused.", registry=own)
        self.clients = Gauge("isd_clients", "Connections open.", registry=own)
        self.waiting = Gauge("isd_requests_waiting", "Requests that have not begun.", registry=own)
        self.request_seconds = Histogram(
            "isd_request_seconds", "Time from a request to its answer.", buckets=BUCKETS, registry=own
        )
        self.infer_seconds = Histogram(
            "isd_infer_seconds", "Time of the policy for a request.", buckets=BUCKETS, registry=own
        )

    def count(self, outcome: str) -> None:
        """One more request with this outcome."""
        self.requests.labels(outcome).inc()

    def text(self) -> str:
        """The page at /metrics."""
        return generate_latest(self.registry).decode()
