"""The suite's core without the simulator under several Pythons: `python -m scripts.setup.matrix`.

Standard library only. A venv is made once for each Python and has the newest versions that it can install.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from scripts.setup.environment import ROOT, requirements
from scripts.support.pages import fill

VERSIONS = ("3.11", "3.12", "3.13")
TESTS = ("tests/core", "tests/policy/networks", "tests/policy/data", "tests/policy/test_policy.py")
FAST = "not slow and not sim and not robomimic"
TOOLS = ("diffusers>=0.31", "numpy>=2", "pillow", "pytest>=8.3", "pyyaml", "scipy")
SHOWN = ("torch", "numpy")
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
RECORD, PAGE = ROOT / "docs" / "results" / "matrix.json", ROOT / "docs" / "performance.md"


def found() -> list[str]:
    """The interpreters of `VERSIONS` that are here: by their names, or those that uv and pyenv keep."""
    probe = "import sys; print(sys.executable, *sys.version_info[:2])"
    pythons = []
    for version in VERSIONS:
        kept = sorted(map(str, PYENV.glob(f"{version}.*/bin/python")))
        names = [f"python{version}", _answer(["uv", "python", "find", version]), *kept]
        answers = [_answer([name, "-c", probe]).split() for name in names if name]
        pythons += [answer[0] for answer in answers if answer[1:] == version.split(".")][:1]
    return pythons


def _answer(command: Sequence[str]) -> str:
    """What a command prints; empty where it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def venv_of(python: str, folder: Path) -> Path:
    """The interpreter that runs the tests: `python` itself in a venv, else that of a venv made of it in `folder`."""
    ask = "import sys; print(sys.prefix != sys.base_prefix, '%d.%d' % sys.version_info[:2])"
    inside, version = _answer([python, "-c", ask]).split()
    if inside == "True":
        return Path(python)
    place = folder / version
    made = place / "bin" / "python"
    if not (place / "complete").exists():
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        subprocess.run([python, "-m", "venv", "--clear", str(place)], check=True)
        wanted = [*requirements(project, []), *TOOLS]
        subprocess.run([str(made), "-m", "pip", "install", "--quiet", "--no-compile", *wanted], check=True)
        (place / "complete").touch()
    return made


def row(python: Path, tests: Sequence[str] = TESTS) -> dict[str, str]:
    """The versions of an interpreter and what its tests said, by pytest's last line."""
    ask = (
        "import json, platform, importlib.metadata as m; "
        f"print(json.dumps({{'python': platform.python_version(), **{{n: m.version(n) for n in {SHOWN}}}}}))"
    )
    versions: dict[str, str] = json.loads(_answer([str(python), "-c", ask]))
    few = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    own = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}  # a venv of somebody else's stays as it is
    with tempfile.TemporaryDirectory() as temporary:
        flags = ["-q", "-p", "no:cacheprovider", "-m", FAST, "--basetemp", f"{temporary}/t"]
        command = [str(python), "-m", "pytest", *flags, *tests]
        ran = subprocess.run(command, cwd=ROOT, env=os.environ | few | own, capture_output=True, text=True)
    print(ran.stdout[-3000:] if ran.returncode else "", end="", file=sys.stderr)
    return versions | {"tests": said(ran.stdout)}


def said(output: str) -> str:
    """`12 passed, 3 skipped` out of pytest's last line, without its time and what was not asked for."""
    last = output.strip().splitlines()[-1] if output.strip() else ""
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped|xfailed)", last)
    return ", ".join(counts) or f"did not run ({last[:80]})"


def table(rows: Sequence[dict[str, str]]) -> str:
    """The rows as a table of a page."""
    columns = ("python", *SHOWN, "tests")
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return "\n".join(lines + [f"| {' | '.join(each[column] for column in columns)} |" for each in rows])


def main() -> int:
    """Parses the command line, runs every row and prints the table; 1 where a test failed."""
    parser = argparse.ArgumentParser(prog="scripts.setup.matrix", description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=ROOT / "runs" / "matrix")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("pythons", nargs="*")
    arguments = parser.parse_args()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    rows = []
    for python in arguments.pythons or found():
        rows.append(row(venv_of(python, arguments.dir)))
        print(table(rows), flush=True)
    if arguments.record:
        RECORD.write_text(json.dumps(rows, indent=2) + "\n")
        fill(PAGE, {"pythons": table(rows)}, kind="matrix")
    return int(any(not re.fullmatch(r"\d+ passed(, \d+ (skipped|xfailed))*", each["tests"]) for each in rows))


if __name__ == "__main__":
    sys.exit(main())
