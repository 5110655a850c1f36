"""The generated part of the reference: the Python API, every command, every group of configs with its fields."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import isd_image.build  # noqa: F401 (these two register the members whose fields are told)
import isd_policy.build  # noqa: F401
from isd_core.support.cli import CONFIGS, Command, without_defaults
from isd_core.support.fields import describe, without_none
from isd_core.support.groups import Groups
from isd_core.support.registry import ROLES, TYPE, Role
from scripts.support import tables

PACKAGES = {
    "isd_core": "The method on any tensor and any network",
    "isd_policy": "Policies from demonstrations",
    "isd_policy.deploy": "From a policy to a robot",
    "isd_image": "Images",
    "isd_envs": "Environments, demonstrations, rollouts",
}
COMMAND_FILES = re.compile(r"^(isd-[\w-]+) = \"([\w.]+):(\w+)\"$", re.MULTILINE)
FIELD = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):(?P<value>[^#]*?)(?:  # (?P<about>.*))?$")


def write(out: Path, root: Path) -> None:
    """Writes api.md, commands.md and configs/<group>.md into `out`. root: the checkout."""
    (out / "configs").mkdir(parents=True)
    (out / "api.md").write_text(api())
    (out / "commands.md").write_text(commands(root))
    groups = Groups.of(CONFIGS, [])
    names = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())
    for name in names:
        (out / "configs" / f"{name}.md").write_text(group(groups, name))
    pages = "\n".join(names)
    (out / "configs" / "index.md").write_text(
        "# Groups of configs\n\nA command chooses one file of each of its groups, as `objective=meanflow`, and sets "
        "fields inside it, as `objective.diagonal=0.5`. The ranges are those that are checked when a config is read, "
        f"wherever it comes from.\n\n```{{toctree}}\n{pages}\n```\n"
    )


def api() -> str:
    """The public names of each package, as directives of Sphinx's autodoc."""
    parts = ["# Python API", "Names that packages export. The rest of the code may change from release to release."]
    told: dict[int, str] = {}
    for package, title in PACKAGES.items():
        module = importlib.import_module(package)
        parts += [f"## `{package}`", f"{title}."]
        for name in module.__all__:
            value = getattr(module, name)
            if id(value) in told:
                parts.append(f"`{package}.{name}` is `{told[id(value)]}`.")
            else:
                told[id(value)] = f"{package}.{name}"
                parts.append(_documented(package, name, value))
    return "\n\n".join(parts) + "\n"


def _documented(package: str, name: str, value: Any) -> str:
    if inspect.isclass(value):
        kind, options = "autoclass", ":members:\n"
    elif callable(value):
        kind, options = "autofunction", ""
    else:
        kind, options = "autodata", ""
    return f"```{{eval-rst}}\n.. {kind}:: {package}.{name}\n" + (f"   {options}" if options else "") + "```"


def commands(root: Path) -> str:
    """Every command: its module, its purpose, its own fields, its groups."""
    parts = [
        "# Commands",
        "Fields are set as `key=value`; `--help` prints this page's part, `--cfg` the resolved config, `--config-dir "
        "DIR` adds choices of your own. The installed name and the module are the same program.",
    ]
    for script, module, name in COMMAND_FILES.findall((root / "pyproject.toml").read_text()):
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, Command)
        about = inspect.cleandoc(command.function.__doc__ or "")
        file = CONFIGS / f"{command.config_name}.yaml"
        parts += [f"## `{script}`", about, _fields(file.read_text(), {})]
        if chosen := _groups(file):
            links = ", ".join(f"[{key}](configs/{key.split('@')[0]}.md) ({choice})" for key, choice in chosen)
            parts.append(f"Groups and their defaults: {links}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _groups(file: Path) -> list[tuple[str, str]]:
    """The groups that a command chooses from, with what it chooses."""
    content = yaml.safe_load(file.read_text())
    chosen = [entry for entry in content.get("defaults", []) if isinstance(entry, dict)]
    return [(key.removeprefix("optional "), str(value)) for entry in chosen for key, value in entry.items()]


def group(groups: Groups, name: str) -> str:
    """A page of a group: each choice with its equation or purpose, its fields, their defaults and ranges."""
    parts = [f"# {name}"]
    for choice in groups.choices(name):
        source = groups.source(name, choice)
        head = list(header(source))
        parts.append(f"## {name}={choice}")
        if head:
            parts.append("```text\n" + "\n".join(head) + "\n```")
        parts.append(_fields(source, _ranges(name, source)))
    return "\n\n".join(part for part in parts if part) + "\n"


def header(source: str) -> Iterator[str]:
    """The comment with which a config file begins: its purpose, or its method's equations."""
    for line in source.splitlines():
        if not line.startswith("#"):
            return
        yield line.removeprefix("#").removeprefix(" ").rstrip()


def _ranges(name: str, source: str) -> dict[str, str]:
    """What the fields of a choice may be, from the constructor that takes them; empty for a group that is no role."""
    content = yaml.safe_load(source)
    return dict(_walk(ROLES[name], content, "")) if name in ROLES and isinstance(content, dict) else {}


def _walk(role: Role, content: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """The fields of a member and of the members in it, by dotted name."""
    if not isinstance(content.get(TYPE), str):
        return
    for key, parameter in role.get(content[TYPE]).parameters().items():
        inner = next((each for each in ROLES.values() if each.base is without_none(parameter.annotation)), None)
        if inner is None:
            yield prefix + key, describe(parameter.annotation)
            continue
        yield f"{prefix}{key}", f"a member of `{inner.name}`"
        yield f"{prefix}{key}.{TYPE}", f"a member of `{inner.name}`"
        if isinstance(content.get(key), dict):
            yield from _walk(inner, content[key], f"{prefix}{key}.")


def _fields(source: str, ranges: dict[str, str]) -> str:
    """The fields of a YAML text with their defaults and comments."""
    rows: list[list[str]] = []
    path: list[str] = []
    for line in without_defaults(source).splitlines():
        if (found := FIELD.match(line)) is None:
            continue
        depth = len(found["indent"]) // 2
        path = [*path[:depth], found["key"]]
        value, about, key = found["value"].strip(), found["about"] or "", ".".join(path)
        if value or about:
            rows.append([f"`{key}`", f"`{value}`" if value else "", ranges.get(key, ""), about.replace("|", "\\|")])
    if not rows:
        return ""
    if not any(row[2] for row in rows):
        return tables.markdown(["field", "default", "meaning"], [[row[0], row[1], row[3]] for row in rows])
    return tables.markdown(["field", "default", "values", "meaning"], rows)
