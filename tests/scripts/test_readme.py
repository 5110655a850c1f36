"""Every command in the documents is one that exists and takes its arguments."""

import ast
import re
import shlex
import sys
import tomllib
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from isd_core.support import cli
from scripts.docs import tutorials
from scripts.setup.environment import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.ipynb")),
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def text_of(document):
    """The Markdown of a document, which may be a notebook."""
    return tutorials.page(document) if document.suffix == ".ipynb" else document.read_text()


def commands():
    """(document, command) of every line in a bash block."""
    for document in DOCUMENTS:
        for block in re.findall(r"```bash\n(.*?)```", text_of(document), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield pytest.param(line, id=f"{document.name}: {line[:60]}")


def check_module(module, words):
    """A module of ours is a hydra command; it answers --help, and its config takes the words."""
    if module == "pytest":
        return
    for suite, package in (("metaworld", "metaworld"), ("adroit", "gymnasium_robotics")):
        if any(word.startswith(f"task={suite}/") for word in words):
            pytest.importorskip(package, reason=f"{package} is not installed")
    home, name = home_of(module)
    command = getattr(import_module(home), name)
    assert isinstance(command, cli.Command), f"{module} is no command"
    assert command.run("--help", *words) == 0
    assert replace(command, function=lambda config: 0).run(*words) == 0


@cache
def home_of(module):
    """(module, name) of the command that `python -m module` runs."""
    package = find_spec(module).submodule_search_locations
    run = f"{module}.__main__" if package else module
    found = re.search(r"^ *from (\S+) import (\w+) as command$", Path(find_spec(run).origin).read_text(), re.MULTILINE)
    return (found[1], found[2]) if found else (run, "main")


def check_script(script, flags):
    """A script of ours; its flags must be in the sources of its folder or of the rooms below."""
    text = "\n".join(path.read_text() for path in (ROOT / script).parent.rglob("*") if path.suffix in (".sh", ".py"))
    assert (ROOT / script).exists()
    for flag in flags:
        assert not flag.startswith("--") or flag in text, f"{script} does not know {flag}"


def check_lerobot(flags):
    """A command of LeRobot, which its own test runs: what it says of the policy must be what our plug-in knows."""
    config = (ROOT / "isd_policy" / "deploy" / "lerobot_plugin" / "configuration_isd.py").read_text()
    known = {"type", "path", "push_to_hub", *re.findall(r"^    (\w+): ", config, re.MULTILINE)}
    for key, value in (flag.split("=", 1) for flag in flags):
        assert not key.startswith("--policy.") or key.removeprefix("--policy.") in known, f"{key} is unknown"
        assert key != "--policy.type" or f'register_subclass("{value}")' in config


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
        case ["pip", "install", ".", plugin, lerobot] if lerobot.startswith("lerobot["):
            assert (ROOT / plugin / "pyproject.toml").exists()
        case [("lerobot-train" | "lerobot-eval" | "lerobot-rollout"), *flags]:
            check_lerobot(flags)
        case [command, *overrides] if command in PROJECT["scripts"]:
            check_module(PROJECT["scripts"][command].partition(":")[0], overrides)
        case [".venv/bin/pre-commit", "install"]:
            pass
        case _:
            pytest.fail(f"no test knows how to check: {line}")


# -- the environment that a command needs -----------------------------------------------------------------------------

HOUSE = ("isd_core", "isd_policy", "isd_image", "isd_envs")
DISTRIBUTIONS = packages_distributions()
CHOSEN = {"data=digits": "image", "task=pusht": "pusht", "logger=wandb": "wandb", "runner=ray": "ray"}
"""Extras of what words choose, imported when it is built."""


def distributions(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def imports(file, top_level):
    """The modules that a file names in its import statements: all of them, or those outside functions."""
    tree = ast.parse(file.read_text())
    inside = {node for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)} - {tree}
    for node in ast.walk(tree):
        if not top_level or node not in inside:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.module


@cache
def imported(file, top_level=True):
    """The foreign packages that running a file imports; those that it imports itself in a function only on request."""
    found, todo, seen = set(), [(file, top_level)], set()
    while todo:
        file, top_level = todo.pop()
        seen.add(file)
        for name in imports(file, top_level):
            if name.partition(".")[0] not in HOUSE:
                found.add(name.partition(".")[0])
            elif (origin := Path(find_spec(name).origin)) not in seen:
                todo.append((origin, True))
    return found


def extras_of(module, words):
    """The extras that a command needs, beyond what the README's environment has."""
    installed = distributions(PROJECT["dependencies"])
    installed = installed.union(*(distributions(PROJECT["optional-dependencies"][extra]) for extra in EXTRAS["demo"]))
    found = {CHOSEN[word] for word in words if word in CHOSEN}
    for package in imported(Path(find_spec(home_of(module)[0]).origin), top_level=False) - sys.stdlib_module_names:
        names = {
            canonicalize_name(name) for name in DISTRIBUTIONS.get(package, ())
        }  # LeRobot has an environment of its own
        found |= {
            extra
            for extra, requirements in PROJECT["optional-dependencies"].items()
            if extra != "dev" and not names & installed and names & distributions(requirements)
        }
    return found


def sections():
    """(document, text) of every part of a document below a heading."""
    for document in DOCUMENTS:
        for number, part in enumerate(re.split(r"\n(?=#+ )", text_of(document))):
            yield pytest.param(document, part, id=f"{document.name}-{number}")


@pytest.mark.parametrize("document, text", list(sections()))
def test_an_extra_that_a_command_needs_is_named_beside_it(document, text):
    """In the README in the same section, elsewhere in the same document."""
    named = text if document.name == "README.md" else text_of(document)
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "-m" in words and (module := words[words.index("-m") + 1]).startswith(HOUSE):
                missing = {extra for extra in extras_of(module, words) if f"`{extra}`" not in named}
                assert not missing, f"{line}: needs the extras {missing}"


def test_the_download_needs_an_extra_and_the_training_does_not():
    """The check above sees what it is for."""
    assert extras_of("isd_policy.data.download", []) == {"hub"}
    assert extras_of("isd_policy.train", []) == set()
    assert extras_of("isd_image.sample", []) == set()


# -- Python and links -------------------------------------------------------------------------------------------------


def python_blocks():
    for document in DOCUMENTS:
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", text_of(document), re.DOTALL)):
            yield pytest.param(block, id=f"{document.name}-{number}")


@pytest.mark.parametrize("block", list(python_blocks()))
def test_documented_python_compiles_and_imports(block):
    compile(block, "<document>", "exec")
    for line in re.findall(r"^(?:import|from) .*$", block, re.MULTILINE):
        exec(line, {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_linked_files_exist(document):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text_of(document))
    assert not [link for link in links if not (document.parent / link).exists()]


def test_the_readme_names_every_extra():
    text = (ROOT / "README.md").read_text()
    assert not [name for name in PROJECT["optional-dependencies"] if f"`{name}`" not in text]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
