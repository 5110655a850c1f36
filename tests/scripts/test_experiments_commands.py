"""The experiments as commands, run as files from another folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("toy", "time_relaxation", "guidance_scale", "derivative_cost")
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


def run(name, *arguments, folder):
    command = [sys.executable, str(ROOT / "scripts" / "experiments" / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_help_names_the_common_flags(name, tmp_path):
    done = run(name, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(flag in done.stdout for flag in ("--out", "--quick", "--workers"))


@pytest.mark.slow
def test_a_table_that_misses_its_gates_ends_with_1_and_is_written(tmp_path):
    done = run("toy", "--quick", "--passes=8", "--out=toy", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "iSD missed: L_ED" in done.stderr
    assert {"table.json", "table.md", "curves_modes.png", "samples_modes.png"} <= set(os.listdir(tmp_path / "toy"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("toy", ["--passes=0"], "--passes=0"),
        ("guidance_scale", ["--omega=0"], "positive"),
        ("time_relaxation", ["times=beta_pair"], "sets"),
        ("time_relaxation", ["network=absent"], "known: "),
        ("derivative_cost", ["--networks=absent"], "known: "),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(name, arguments, message, tmp_path):
    done = run(name, *arguments, "--workers=1", folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
