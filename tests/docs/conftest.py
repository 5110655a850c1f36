"""How the documents' programs are run: in processes of their own, from another folder."""

import os
import subprocess
import sys
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
