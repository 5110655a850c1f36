"""The benchmark's cells call what they say they call, and its table holds what was measured."""

import numpy as np
import pytest
import torch

from scripts.benchmarks import latency as benchmark_latency
from scripts.benchmarks.latency import Method, eager, inputs_of, markdown, measure, policy_of, ratios, timed


@pytest.fixture(scope="module")
def policy():
    torch.set_num_threads(1)
    return policy_of("unet1d_small", "cpu")


def test_eager_cells_are_the_policy_and_diffusion_of_its_network(policy):
    pytest.importorskip("diffusers")
    methods = {method.name: method for method in eager(policy)}
    assert list(methods) == ["1 NFE", "2 NFE", "4 NFE", "1 NFE, 8 candidates", "DDPM-100", "DDIM-10"]
    assert methods["1 NFE, 8 candidates"].call().shape == (1, 15, 7) and policy.candidates == 1
    np.testing.assert_array_equal(methods["2 NFE"].call(), policy.infer(inputs_of(policy), 2))
    calls = []
    handle = policy.net.register_forward_hook(lambda *_: calls.append(1))
    try:
        assert methods["DDIM-10"].call().shape == (1, 15, 7)
    finally:
        handle.remove()
    assert len(calls) == 10


def test_every_cell_is_measured_in_every_run(monkeypatch):
    monkeypatch.setattr(benchmark_latency, "FEWEST_CALLS", 2)
    called = []
    methods = [Method("a", "1 NFE", lambda: called.append("a")), Method("b", "1 NFE", lambda: called.append("b"))]
    rows = measure(methods, 0.0)
    assert [len(row["runs"]) for row in rows] == [3, 3]
    assert called[-4:] == ["a", "a", "b", "b"]  # one method after the other within a run
    assert rows[0]["p50"] == min(run["p50"] for run in rows[0]["runs"])
    assert rows[0]["reference_ms"] > 0


def test_percentiles_are_milliseconds(monkeypatch):
    ticks = iter(np.cumsum([0.0] + [0.0, 0.004] * 50))
    monkeypatch.setattr(benchmark_latency.time, "perf_counter", lambda: next(ticks))
    p50 = timed(lambda: None, 0.0)["p50"]
    assert p50 == pytest.approx(4.0)


def row(backend, method, times):
    runs = [{"p50": t, "p99": 1.2 * t, "reference_ms": 1.0} for t in times]
    return {"backend": backend, "method": method, "runs": runs, "p50": min(times), "p99": 1.2 * min(times),
            "reference_ms": 1.0}  # fmt: skip


ROWS = [
    row("eager", "1 NFE", [4, 5, 4]),
    row("eager", "DDPM-100", [400, 450, 392]),
    row("onnxruntime", "1 NFE", [2] * 3),
]


def test_ratios_are_of_the_same_run():
    assert ratios(ROWS) == {"eager": pytest.approx(98.0)}


def test_table_names_the_best_backend_beside_the_target():
    content = {
        "threads": 1,
        "device": "cpu",
        "machine": {"processor": "P", "cores": 2},
        "versions": {"torch": "2"},
        "networks": {"unet1d": {"parameters": 4_200_000, "rows": ROWS, "ratios": ratios(ROWS)}},
    }
    text = markdown(content)
    assert "| eager | DDPM-100 | 392.00 | 470.40 | 1.00 |" in text
    assert "eager 98 times slower" in text
    assert "Best p99 at 1 NFE: 2.40 ms (onnxruntime); target 5 ms." in text
