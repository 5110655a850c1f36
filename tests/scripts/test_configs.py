"""The configs that --help prints: every field explains itself."""

import re

import pytest
from omegaconf import OmegaConf

from isd_core.support.cli import CONFIGS

FOLDER = CONFIGS
FILES = sorted(FOLDER.rglob("*.yaml"))
PACKAGES = ("isd_core", "isd_policy", "isd_image", "isd_envs", "scripts")
KEY = re.compile(r"^\s*[\w@/]+:(\s|$)")


def fields(text):
    """The lines of a config that set a field, without the defaults list."""
    inside = False
    for line in text.splitlines():
        if line.startswith("defaults:"):
            inside = True
        elif inside and not line.startswith((" ", "-", "#")):
            inside = False
        if not inside and KEY.match(line):
            yield line


def test_there_are_configs():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_field_has_a_comment(path):
    without = [
        line
        for line in fields(path.read_text())
        if "  # " not in line and not line.rstrip().endswith(":") and "type:" not in line
    ]
    assert not without


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_comments_are_set_apart_by_two_spaces(path):
    assert not [line for line in fields(path.read_text()) if re.search(r"\S #", line.replace("  #", ""))]


def commands():
    """(config, source of the package that reads it, its own fields) of every command."""
    root = FOLDER.parent
    sources = {path: path.read_text() for path in root.glob("*/**/*.py") if path.parts[len(root.parts)] in PACKAGES}
    for path, source in sources.items():
        for name in re.findall(r'^@command\("(\w+)"', source, re.MULTILINE):
            package = path.parts[len(root.parts)]
            rooms = (package, "isd_core", "isd_envs")
            text = "\n".join(s for p, s in sources.items() if p.parts[len(root.parts)] in rooms)
            own = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"), resolve=False)
            yield pytest.param(text, [key for key in own if key != "defaults"], id=name)


@pytest.mark.parametrize("source, keys", list(commands()))
def test_every_field_of_a_command_is_read(source, keys):
    """A field that no code reads would be accepted and do nothing."""
    assert not [key for key in keys if not re.search(rf"""["']{key}["']|(cfg|config)\.{key}\b""", source)]


def test_every_root_config_belongs_to_a_program():
    of_commands = {parameter.id for parameter in commands()}
    rooms = (FOLDER.parent / "scripts", FOLDER.parent / "isd_core")
    scripts = "\n".join(path.read_text() for room in rooms for path in room.rglob("*.py"))
    others = {path.stem for path in FOLDER.glob("*.yaml")} - of_commands
    assert not [name for name in others if f'"{name}"' not in scripts]


@pytest.mark.parametrize("path", sorted((FOLDER / "objective").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_objective_opens_with_its_name_and_its_equation(path):
    title, equation, *_ = path.read_text().splitlines()
    assert re.match(r"# \w", title)
    assert equation.startswith("#   L = ")
