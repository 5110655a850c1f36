"""Latencies as the numbers that a report prints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """p50, p95, p99 and max in milliseconds; None when there is nothing to summarise."""
    if not len(seconds):
        return None
    milliseconds = 1e3 * np.asarray(seconds)
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": float(milliseconds.max())}
