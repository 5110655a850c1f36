"""Every command in the documents is one that exists and takes its arguments."""

import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from isd_core.support.cli import compose_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def commands():
    """(document, command) of every line in a bash block."""
    for document in DOCUMENTS:
        for block in re.findall(r"```bash\n(.*?)```", document.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield pytest.param(line, id=f"{document.name}: {line[:60]}")


def check_module(module, overrides):
    """A module of ours is a hydra command; its config must take the overrides."""
    if module == "pytest":
        return
    source = Path(import_module(module).__file__).read_text()
    config = re.search(r'@command\("(\w+)"(?:, positional="(\w+)")?\)', source)
    assert config, f"{module} is no command"
    if config[2] and "=" not in overrides[0]:
        overrides = [f"{config[2]}={overrides[0]}", *overrides[1:]]
    compose_config(config[1], overrides)


def check_script(script, flags):
    """A script of ours; its flags must be in the sources of its folder or of the rooms below."""
    text = "\n".join(path.read_text() for path in (ROOT / script).parent.rglob("*") if path.suffix in (".sh", ".py"))
    assert (ROOT / script).exists()
    for flag in flags:
        assert not flag.startswith("--") or flag in text, f"{script} does not know {flag}"


def check_pip(requirement):
    """An installation of this project; its extras must exist."""
    extras = re.findall(r"[\w-]+", requirement.partition("[")[2])
    assert set(extras) <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("line", list(commands()))
def test_documented_commands_exist(line):
    words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
    match words:
        case [("python" | ".venv/bin/python"), "-m", module, *flags] if module.startswith("scripts."):
            check_script(f"{module.replace('.', '/')}.py", flags)
        case [("python" | ".venv/bin/python"), "-m", module, *overrides]:
            check_module(module, overrides)
        case ["bash", script, *flags]:
            check_script(script, flags)
        case ["torchrun", _, "-m", module, *overrides]:
            check_module(module, overrides)
        case ["accelerate", "launch", "--num_processes", _, "--cpu", "-m", module, *overrides]:
            check_module(module, overrides)
        case [("python" | ".venv/bin/python"), script, *flags]:
            check_script(script, flags)
        case ["pip", "install", requirement]:
            check_pip(requirement)
        case [command, *overrides] if command in PROJECT["scripts"]:
            check_module(PROJECT["scripts"][command].partition(":")[0], overrides)
        case [".venv/bin/pre-commit", "install"]:
            pass
        case _:
            pytest.fail(f"no test knows how to check: {line}")


def python_blocks():
    for document in DOCUMENTS:
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)):
            yield pytest.param(block, id=f"{document.name}-{number}")


@pytest.mark.parametrize("block", list(python_blocks()))
def test_documented_python_compiles_and_imports(block):
    compile(block, "<document>", "exec")
    for line in re.findall(r"^(?:import|from) .*$", block, re.MULTILINE):
        exec(line, {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_linked_files_exist(document):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert not [link for link in links if not (document.parent / link).exists()]


def test_the_readme_names_every_installed_command():
    text = (ROOT / "README.md").read_text()
    assert not [name for name in PROJECT["scripts"] if f"`{name}`" not in text]


def test_the_readme_names_every_extra():
    text = (ROOT / "README.md").read_text()
    assert not [name for name in PROJECT["optional-dependencies"] if f"`{name}`" not in text]
