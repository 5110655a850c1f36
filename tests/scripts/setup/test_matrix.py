"""The matrix of Pythons: what is run, and how its answer is read."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.setup import matrix


@pytest.mark.parametrize(
    "output, said",
    [
        ("....\n12 passed, 3 skipped, 40 deselected, 2 warnings in 4.21s\n", "12 passed, 3 skipped"),
        ("F\n1 failed, 2 passed in 0.1s", "1 failed, 2 passed"),
        ("2 errors in 0.1s", "2 errors"),
        ("/bin/python: No module named pytest", "did not run (/bin/python: No module named pytest)"),
        ("", "did not run ()"),
    ],
)
def test_the_last_line_is_read(output, said):
    assert matrix.said(output) == said


def test_a_row_says_the_versions_and_what_passed(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_good(): pass\ndef test_bad(): assert False\n")
    found = matrix.row(Path(sys.executable), [str(tmp_path / "test_it.py")])
    assert found["python"] == "{}.{}.{}".format(*sys.version_info) and found["tests"] == "1 failed, 1 passed"
    assert matrix.table([found]).splitlines()[0] == "| python | torch | numpy | tests |"
    assert matrix.table([found]).splitlines()[-1].endswith("| 1 failed, 1 passed |")


def test_an_interpreter_in_a_venv_is_used_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    monkeypatch.setattr(matrix, "_answer", lambda command: "True 3.12")
    assert matrix.venv_of("/some/venv/bin/python", tmp_path) == Path("/some/venv/bin/python")


def test_a_complete_venv_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "_answer", lambda command: "False 3.13")
    (tmp_path / "3.13").mkdir()
    (tmp_path / "3.13" / "complete").touch()
    monkeypatch.setattr(subprocess, "run", None)
    assert matrix.venv_of("python3.13", tmp_path) == tmp_path / "3.13" / "bin" / "python"


def test_a_python_of_another_version_is_not_taken_for_the_one_asked(tmp_path, monkeypatch):
    answers = {"python3.11": "/usr/bin/python3.11 3 11", "python3.12": "/usr/bin/python3 3 9"}
    monkeypatch.setattr(matrix, "_answer", lambda command: answers.get(command[0], ""))
    monkeypatch.setattr(matrix, "PYENV", tmp_path)
    assert matrix.found() == ["/usr/bin/python3.11"]
    kept = tmp_path / "3.13.0" / "bin" / "python"
    kept.parent.mkdir(parents=True)
    kept.touch()
    answers[str(kept)] = f"{kept} 3 13"
    assert matrix.found() == ["/usr/bin/python3.11", str(kept)]
