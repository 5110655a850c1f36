"""What the packages export, and what importing them costs."""

import subprocess
import sys
import tomllib
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


def commands():
    """The modules of all commands, by which `python -m` runs them: the installed ones and two more."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
    named = {target.replace(".commands:", ".").partition(":")[0].removesuffix(".__main__") for target in targets}
    return sorted(named | {"isd_core.training.reconstruct", "isd_policy.deploy.lerobot"})


@pytest.mark.parametrize("module", commands())
def test_help_and_refusals_come_without_torch(module):
    code = f"""
import runpy, sys
for words in (["--help"], ["nothing_of_this_name=1"]):
    sys.argv[1:] = words
    try:
        runpy.run_module({module!r}, run_name="__main__")
    except SystemExit as ended:
        print(ended.code, "torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    help_text, _, told = run.stdout.rpartition("0 False\n")
    assert len(help_text) > 100 and told == "2 False\n", run.stdout
    assert "nothing_of_this_name" in run.stderr
