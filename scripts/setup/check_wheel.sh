#!/usr/bin/env bash
# Builds wheel and sdist, also the client's and those of LeRobot's plug-in, checks their metadata, installs the wheel into a new environment and uses it from another folder.
# The requirements come from .venv by a path entry (without its editable install); nothing is downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
.venv/bin/python -m build --no-isolation --outdir "$work/dist" .
.venv/bin/python -m build --no-isolation --outdir "$work/client" isd_policy/deploy/client
.venv/bin/python -m build --no-isolation --outdir "$work/plugin" isd_policy/deploy/lerobot_plugin
.venv/bin/python -m twine check --strict "$work"/dist/* "$work"/client/* "$work"/plugin/*
.venv/bin/python -m venv "$work/venv"
.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    >"$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/requirements.pth"
"$work/venv/bin/python" -m pip install --quiet --no-deps --no-index --force-reinstall "$work"/dist/*.whl

mkdir "$work/elsewhere"
cd "$work/elsewhere"
"$work/venv/bin/python" - "$work/venv" <<'PYTHON'
"""Every module imports, every console script answers --help, and all of it comes from the wheel."""
import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

venv = Path(sys.argv[1]).resolve()
modules = 0
for name in ("isd_core", "isd_policy", "isd_image", "isd_envs"):
    package = importlib.import_module(name)
    origin = Path(package.__file__).resolve()
    assert origin.is_relative_to(venv), f"{name} was imported from {origin}, not from the wheel"
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(module.name)
        modules += 1
scripts = [e.name for e in distribution("isd-flow").entry_points if e.group == "console_scripts"]
for script in scripts:
    subprocess.run([venv / "bin" / script, "--help"], check=True, stdout=subprocess.DEVNULL)
assert not list(Path.cwd().iterdir()), "a command left files behind"
print(f"The wheel works outside the checkout: {modules} modules imported, {len(scripts)} commands answer --help.")
PYTHON
