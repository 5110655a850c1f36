"""The benchmark of a step against the sum of its passes."""

import json

import pytest

from isd_core.support.errors import InputError
from scripts.benchmarks import objectives as benchmark
from scripts.support.heads import example, is_policy, objectives


def test_a_row_holds_the_passes_and_three_times(tmp_path, capsys):
    words = ["--network", "unet1d_small", "--objective", "meanflow", "--batch", "8", "--turns", "1", "--device", "cpu"]
    benchmark.main([*words, "--out", str(tmp_path / "cost.json")])
    (row,) = json.loads((tmp_path / "cost.json").read_text())["rows"]
    assert row["passes"] == [1.0, 0.0, 0.5, 0.0]
    assert row["step_seconds"] > row["forward_seconds"] > 0
    assert "| unet1d_small | `meanflow` | 1 / 0 / 0.5 / 0 |" in capsys.readouterr().out


@pytest.mark.parametrize("ratio, code", [(1.05, 0), (1.2, 1)])
def test_the_exit_code_tells_a_step_that_costs_more_than_its_passes(ratio, code, monkeypatch, capsys):
    row = {"network": "n", "objective": "isd", "passes": [2, 0, 2, 0], "ratio": ratio}
    row |= {f"{key}_seconds": 1.0 for key in ("step", "calls", "forward")}
    monkeypatch.setattr(benchmark, "measure", lambda *_: row)
    assert benchmark.main(["--network", "unet1d_small", "--objective", "isd", "--device", "cpu"]) == code
    assert ("isd on n (1.20)" in capsys.readouterr().err) == bool(code)


def test_the_heads_have_their_objectives():
    assert is_policy("unet1d_small") and not is_policy("dit_digits")
    assert set(objectives(policies=True)) - set(objectives(policies=False)) == {"ddpm", "mip", "regression"}
    with pytest.raises(InputError, match="objective=mip is for policies"):
        example("dit_digits", "mip", 1)
