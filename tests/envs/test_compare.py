from __future__ import annotations

from pathlib import Path

import pytest

from isd_core.support import files
from isd_envs.compare import main


def result(path: Path, outcomes: dict[str, list[bool]], starts: list[int]) -> Path:
    runs = {
        nfe: {"episodes": [{"index": i, "success": success} for i, success in enumerate(of_run)]}
        for nfe, of_run in outcomes.items()
    }
    files.write_json(path, {"results": runs, "starts": starts})
    return path


def compare(*words: str) -> int:
    return main.run(*words)


def test_different_policies_are_called_different(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = result(tmp_path / "a.json", {"1": [True] * 20}, list(range(20)))
    second = result(tmp_path / "b.json", {"1": [False] * 10 + [True] * 10}, list(range(20)))
    assert compare(f"first={first}", f"second={second}") == 0
    out = capsys.readouterr().out
    assert "20 against 10 of 20 starts: different" in out
    assert "only the first on 10, only the second on 0" in out


def test_two_runs_of_one_file_can_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = result(tmp_path / "a.json", {"1": [True, False], "2": [True, True]}, [0, 1])
    assert compare(f"first={first}", "nfe=1", "second_nfe=2") == 0
    assert "not distinguishable at n = 2" in capsys.readouterr().out


def test_other_starts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = result(tmp_path / "a.json", {"1": [True]}, [0])
    second = result(tmp_path / "b.json", {"1": [True]}, [1])
    assert compare(f"first={first}", f"second={second}") == 2
    assert "same seed" in capsys.readouterr().err


def test_a_missing_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = result(tmp_path / "a.json", {"1": [True]}, [0])
    assert compare(f"first={first}", "nfe=4") == 2
    assert "no run with nfe=4" in capsys.readouterr().err
