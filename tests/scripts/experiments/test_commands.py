"""The experiments as commands, run as files from another folder."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.support import command

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("toy", "time_relaxation", "guidance_scale", "derivative_cost")
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


HELP = """
import runpy, sys
from pathlib import Path
for path in map(Path, sys.argv[1:]):
    sys.argv, sys.path[0] = [str(path), "--help"], str(path.parent)  # as python sets them for a file
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        print(path.stem, "ends with", end.code)
"""


def file(name):
    return str(ROOT / "scripts" / "experiments" / f"{name}.py")


def run(*arguments, folder):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=ENVIRONMENT)


@pytest.mark.slow
def test_help_names_the_common_flags(tmp_path):
    done = run("-c", HELP, *map(file, NAMES), folder=tmp_path)
    texts = re.split(r"^usage: ", done.stdout, flags=re.MULTILINE)[1:]
    assert len(texts) == len(NAMES), done.stderr
    for name, text in zip(NAMES, texts, strict=True):
        assert all(flag in text for flag in ("--out", "--quick", "--workers"))
        assert f"{name} ends with 0" in text


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("toy", ["--passes=0"], "--passes=0"),
        ("toy", ["--workers=0"], "--workers=0"),
        ("guidance_scale", ["--omega=0"], "positive"),
        ("time_relaxation", ["times=beta_pair"], "sets"),
        ("time_relaxation", ["network=absent"], "known: "),
        ("derivative_cost", ["--networks=absent"], "known: "),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(name, arguments, message, tmp_path, monkeypatch, capsys):
    program = importlib.import_module(f"scripts.experiments.{name}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--workers=1", *arguments])
    assert command.run(program.main, program.flags()) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
