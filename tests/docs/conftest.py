"""How the documents' programs are run: in processes of their own, from another folder."""

import importlib.util
import os
import pty
import subprocess
import sys
import threading
import tty
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """The variables of a program: this checkout alone, and a cache of compiled modules that all of them share."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    cache = str(tmp_path_factory.mktemp("compiled"))
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PYTHONPYCACHEPREFIX": cache}


@pytest.fixture
def run_example(environment, tmp_path):
    """run_example(name): what an example prints on standard output, run from an empty folder; it must leave no file."""

    def run(name: str) -> str:
        path = ROOT / "docs" / "examples" / name
        ended = subprocess.run([sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        assert not list(tmp_path.iterdir())
        return ended.stdout

    return run


@pytest.fixture
def serial_robot():
    """serial_robot(answering): the example's arm on a pseudo-terminal, behind which there are its servos or nothing."""
    spec = importlib.util.spec_from_file_location("serial_robot", ROOT / "docs/examples/serial_robot.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    def make(answering: bool):
        controller, line = pty.openpty()
        tty.setraw(controller)
        if answering:
            threading.Thread(target=example.servos, args=(controller,), daemon=True).start()
        return example.SerialArm(os.ttyname(line))

    return make
