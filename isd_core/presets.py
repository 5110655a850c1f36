"""Choices of the config groups as Python values: `isd(path="linear")` is `objective=isd path=linear`.

The YAML files of `configs/` are the one set of presets and of defaults, for the command line as for Python. A `Preset`
names a file of a group (or a registered member) and the fields that differ from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from isd_core.support.cli import CONFIGS, compose_config, resolved, root_fields
from isd_core.support.errors import InputError
from isd_core.support.groups import Groups


@dataclass(frozen=True)
class Preset:
    """A choice of a group with some of its fields set. fields named after a group choose in that group."""

    group: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """The same as settings of a config: {group: name, "group.field": value, other group: choice}."""
        inner = {key if key in groups() else f"{self.group}.{key}": value for key, value in self.fields.items()}
        return {self.group: self.name, **inner}


def preset(group: str, name: str) -> Callable[..., Preset]:
    """The function that makes presets of one choice. It takes the file's fields by name, or in the file's order."""

    def make(*values: Any, **fields: Any) -> Preset:
        own = own_fields(group, name)
        if len(values) > len(own):
            raise InputError(f"{group} `{name}` takes at most {len(own)} values: {', '.join(own) or 'none'}.")
        ordered = dict(zip(own, values, strict=False))
        if twice := ordered.keys() & fields.keys():
            raise InputError(f"{group} `{name}`: {', '.join(sorted(twice))} was given twice.")
        return Preset(group, name, ordered | fields)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"The choice `{group}={name}`; fields by name."
    return make


def given(**settings: Any) -> dict[str, Any]:
    """The settings that are not None: the others keep their defaults."""
    return {key: value for key, value in settings.items() if value is not None}


def config_from(root: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved config of a command's root file with settings from Python.

    A setting is a choice of a group by name or as a `Preset`, a mapping of a group's fields, or a field's value; names
    may be dotted (`"network.widths"`). Raises `InputError` for what the config does not have.
    """
    choices: list[str] = []
    values: dict[str, Any] = {}
    pending = list(settings.items())
    while pending:
        key, value = pending.pop(0)
        if isinstance(value, Preset):
            if value.group != key:
                raise InputError(f"{key}: expected a choice of {key}, found the {value.group} `{value.name}`.")
            pending = [*value.settings().items(), *pending]
        elif key in groups() and isinstance(value, str) and key not in root_fields(root):
            choices.append(f"{key}={value}")
        elif key in groups() and isinstance(value, Mapping):
            pending = [*((f"{key}.{inner}", entry) for inner, entry in value.items()), *pending]
        else:
            values[key] = list(value) if isinstance(value, tuple) else value
    return resolved(compose_config(root, choices, values=values))


def groups() -> list[str]:
    """The config groups."""
    return sorted(path.name for path in CONFIGS.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))


def choices(group: str) -> list[str]:
    """The names that can be chosen in a group, those of registered members included."""
    return Groups.of(CONFIGS, ()).choices(group)


def own_fields(group: str, name: str) -> list[str]:
    """The fields of a choice that are its own, in its order: neither the member's name nor references to groups."""
    found = OmegaConf.create(Groups.of(CONFIGS, ()).source(group, name))
    values = OmegaConf.to_container(found)
    assert isinstance(values, dict)
    references = {key for key, value in values.items() if isinstance(value, str) and value.startswith("${")}
    return [str(key) for key in values if key not in {"type", "defaults", *references}]
