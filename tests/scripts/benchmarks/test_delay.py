"""The delay benchmark's table and figure, and what it refuses."""

import pytest

import scripts.benchmarks.delay as benchmark
from scripts.benchmarks.delay import draw, markdown

ROW = {"rate": 0.5, "low": 0.3, "high": 0.7, "successes": 5, "episodes": 10, "mean_steps": 40.0, "jerk": 0.4,
       "jump": 0.3, "starved": 0.25}  # fmt: skip


def test_figure_and_tables_hold_every_row(tmp_path):
    strategies = ("sync", "async", "async + blend")
    rows = [{"method": "iSD, 1 NFE", "strategy": s, "delay_ms": d, **ROW} for s in strategies for d in (0.0, 200.0)]
    rows += [{"method": "DDPM, 100 steps, at its cost", "strategy": s, "delay_ms": 450.0, **ROW} for s in strategies]
    content = {
        "task": "lift",
        "episodes": 10,
        "seed": 0,
        "threads": 1,
        "max_steps": 400,
        "machine": {"processor": "P", "cores": 2},
        "cost_ms": {"1": 4.5, "100": 450.0},
        "rows": rows,
    }
    text = markdown(content)
    assert text.count("| 5 of 10 | 30.0-70.0 | 40 | 0.400 | 0.300 | 25 % |") == 9
    assert "100 NFE 450.0 ms" in text
    pytest.importorskip("matplotlib")
    draw(content, tmp_path / "delay.png")
    assert (tmp_path / "delay.png").read_bytes()[:4] == b"\x89PNG"


def test_what_is_no_policy_is_an_input_error(tmp_path, capsys):
    assert benchmark.main(["--policy", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no checkpoint" in capsys.readouterr().err
