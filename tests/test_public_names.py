"""What the packages export, and what importing them costs."""

import subprocess
import sys
from pathlib import Path

import pytest

import isd_core
import isd_image
import isd_policy

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("package", ["isd_core", "isd_policy", "isd_image"])
def test_importing_a_package_imports_neither_torch_nor_a_simulator(package):
    code = (
        f"import sys, {package}; "
        "print(sorted({'torch', 'hydra', 'mujoco', 'robosuite', 'gymnasium', 'numpy'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("package", [isd_core, isd_policy, isd_image])
def test_every_public_name_is_there(package):
    assert package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None and name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_commands_leave_the_functions_in_their_places():
    """In a process of its own: the modules that it imports are functions afterwards."""
    code = """
import isd_image.train, isd_policy.evaluate, isd_policy.train
print(callable(isd_policy.train) and callable(isd_policy.evaluate) and callable(isd_image.train))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "True"


@pytest.mark.parametrize(
    "module",
    ["isd_policy.train", "isd_policy.evaluate", "isd_image.train"]
    + [f"isd_policy.deploy.{room}" for room in ("bundle", "export", "serve")],
)
def test_help_comes_without_torch(module):
    code = f"""
import runpy, sys
sys.argv[1:] = ["--help"]
try:
    runpy.run_module({module!r}, run_name="__main__")
except SystemExit as ended:
    print(ended.code, "torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.splitlines()[-1] == "0 False", run.stdout
