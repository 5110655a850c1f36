from isd_policy.latency import percentiles


def test_percentiles_are_in_milliseconds():
    values = percentiles([i / 1000 for i in range(101)])
    assert values == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


def test_nothing_to_summarise():
    assert percentiles([]) is None
