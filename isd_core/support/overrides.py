"""Words of a command line, `key=value`: which field each sets, and to what.

hydra's grammar reads numbers, lists and mappings. Text is taken as it stands, so that a path or a name may hold spaces,
`=`, commas, brackets, quotes, backslashes and `${...}`. A field holds text when its default is text, and when its
default (null, or a value still to give) does not tell but its name is one of `PATHS` or `NAMES`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isd_core.support.errors import InputError

PATHS = frozenset(
    {
        *("bundle", "certfile", "checkpoint", "codec_source", "data", "first", "images", "keyfile", "out", "reference"),
        *("report", "results", "root", "run_dir", "samples", "second", "source", "statistics", "token_file"),
        "until_decided",
    }
)
"""Fields of all commands that hold a file or a folder; a leading `~` is the home folder."""

NAMES = frozenset(
    {
        *("action_mode", "choose", "compat", "filter_key", "held_out", "id", "info", "initial_noise", "licence"),
        *("package", "robot_type", "sampler", "score", "task"),
    }
)
"""Fields that hold a word or a name though their default is null or still to give."""

LISTS = frozenset({"actions", "episodes", "labels", "observation_keys"})
"""Fields that hold a list where their default is null: one value is the list of one."""

MISSING = "???"
SHELL_SAFE = re.compile(r"[\w@%+=:,./\[\]-]+", re.ASCII)


@dataclass(frozen=True)
class Override:
    """One word. sign: `""` sets a field, `+` adds one, `++` does either, `~` removes one; text: None without `=`.

    package: what follows the `@` of a group, as in `times@objective.times=diagonal`.
    """

    word: str
    sign: str
    key: str
    package: str | None
    text: str | None

    @classmethod
    def of(cls, word: str) -> Override:
        """Raises `InputError` for a word that sets nothing."""
        head, equals, text = word.partition("=")
        sign = next((sign for sign in ("++", "+", "~") if head.startswith(sign)), "")
        key, at, package = head.removeprefix(sign).partition("@")
        if not key or not (equals or sign == "~"):
            raise InputError(f"`{word}` sets nothing: fields are set as key=value; --help lists them.")
        if equals and sign == "~":
            raise InputError(f"`{word}`: `~{key}` removes {key}, whatever its value; leave `={text}` out.")
        return cls(word, sign, key, package if at else None, text if equals else None)

    @property
    def target(self) -> str:
        """The key as it was written, with its package."""
        return self.key if self.package is None else f"{self.key}@{self.package}"


def words(values: Mapping[str, Any]) -> list[str]:
    """The words that set fields to values: what a program hands to a command, with no shell between.

    A `Path` is made absolute, so that it stands for one place and for no home folder.
    """
    return [f"{key}={_written(value)}" for key, value in values.items()]


def _written(value: Any) -> str:
    if isinstance(value, Path):
        return str(value.absolute())
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def command_line(module: str, **values: Any) -> str:
    """The command that sets fields to values, to be shown: quoted where a shell needs it."""
    shown = [word if SHELL_SAFE.fullmatch(word) else shlex.quote(word) for word in words(values)]
    return " ".join(["python -m", module, *shown])


# -- values -----------------------------------------------------------------------------------------------------------


def value_of(override: Override, default: Any) -> Any:
    """The value that a word gives to a field with the given default. Raises `InputError` for one of another type.

    Text that OmegaConf would take for an interpolation is escaped.
    """
    text, name = override.text or "", override.key.rpartition(".")[2]
    untold = default is None or default == MISSING
    if name in PATHS | NAMES if untold else isinstance(default, str):
        return _text(override, text, name, default)
    if text.strip() == "null":
        return None
    if isinstance(default, list):
        return _list(override, text, default)
    value = _parsed(override, text, default)
    if isinstance(value, str) and "${" in value:
        return value
    if isinstance(default, dict):
        if not isinstance(value, dict):
            fields = ", ".join(map(str, default)) or "none yet"
            raise InputError(
                f"`{override.word}`: {override.key} holds fields ({fields}), set as {override.key}.NAME=..."
            )
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool) and (not isinstance(value, str) or value.lower() in ("yes", "no", "on", "off")):
            raise InputError(f"`{override.word}`: expected true or false.")
        return value
    if isinstance(default, int | float) and not isinstance(value, dict):
        return _number(override, value, default)
    return value


def _text(override: Override, text: str, name: str, default: Any) -> str | None:
    if text == "null" and (default is None or (name not in PATHS and default != MISSING)):
        return None  # a path that is needed may have this name
    if name in PATHS:
        if not text:
            raise InputError(f"`{override.word}` is empty: expected a file or a folder.")
        text = os.path.expanduser(text)
    return _escaped(text)


def _escaped(text: str) -> str:
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def _list(override: Override, text: str, default: list[Any]) -> Any:
    """A list; one value, or several with commas between, are the list of them."""
    bare = not text.strip().startswith(("[", "$"))
    return _parsed(override, f"[{text}]" if bare else text, default)


def _number(override: Override, value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"`{override.word}`: expected a number, such as {default}.")
    return int(value) if isinstance(default, int) and isinstance(value, float) and value.is_integer() else value


def _parsed(override: Override, text: str, default: Any) -> Any:
    """By hydra's grammar; what that does not know is text where the default does not tell."""
    try:
        parsed = OverridesParser.create().parse_override(f"value={text}")
    except HydraException as error:
        if (default is None or default == MISSING or isinstance(default, bool)) and not text.startswith(("[", "{")):
            return text
        raise InputError(
            f"The value of `{override.word}` cannot be read. A list is written [1,2], fields {{a: 1, b: 2}}, text with "
            "special characters in quotes."
        ) from error
    if parsed.is_sweep_override():
        if parsed.is_choice_sweep() and (default is None or default == MISSING):
            return _parsed(override, f"[{text}]", default)
        raise InputError(f"`{override.word}` gives several values; {override.key} takes one.")
    return parsed.value()


# -- fields -----------------------------------------------------------------------------------------------------------


def apply(config: DictConfig, override: Override) -> None:
    """Sets, adds or removes the field of `override` in a composed config; a mapping is merged into the one there, and
    one without fields takes any.

    Raises `InputError` for a field that is not there, or is there already, and for a value of another type.
    """
    if override.package is not None:
        raise InputError(f"`{override.word}`: there is no group `{override.key}` to place at `{override.package}`.")
    parent, name = _parent(config, override)
    found = name in parent.keys()  # noqa: SIM118  ("in" alone is false for a value still to give)
    if not found and override.sign in ("", "~"):
        raise unknown_field(config, override.key)
    if override.sign == "~":
        OmegaConf.set_struct(parent, False)
        del parent[name]
        OmegaConf.set_struct(parent, True)
        return
    default = _value(parent, name) if found else None
    default = OmegaConf.to_container(default) if isinstance(default, DictConfig | ListConfig) else default
    value = value_of(override, [] if default in (None, MISSING) and name in LISTS else default)
    if override.sign == "+" and default not in (None, MISSING) and not isinstance(value, dict):
        raise InputError(f"`{override.word}`: there is a field `{override.key}` already; leave the + out to set it.")
    try:
        OmegaConf.update(parent, name, value, merge=True, force_add=bool(override.sign) or default == {})
    except OmegaConfBaseException as error:
        inner = str(getattr(error, "full_key", None) or override.key)
        raise unknown_field(config, inner, f" `+{override.word}` adds it.") from error


def assign(config: DictConfig, key: str, value: Any) -> None:
    """Sets a dotted field to a value as it is; a mapping is merged, and one without fields takes any.

    Raises `InputError` for a field that is not there.
    """
    *parents, name = key.split(".")
    node: Any = config
    for part in parents:
        node = _value(node, part) if isinstance(node, DictConfig) and part in node.keys() else None  # noqa: SIM118
    if not isinstance(node, DictConfig) or name not in node.keys():  # noqa: SIM118
        raise unknown_field(config, key)
    try:
        OmegaConf.update(node, name, _plain(value), merge=True, force_add=_value(node, name) == {})
    except OmegaConfBaseException as error:
        raise unknown_field(config, str(getattr(error, "full_key", None) or key)) from error


def _plain(value: Any) -> Any:
    """A value whose text OmegaConf does not take for an interpolation."""
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _parent(config: DictConfig, override: Override) -> tuple[DictConfig, str]:
    """The mapping that holds the field of `override`, made where a sign adds it, and the field's name in it."""
    *parents, name = override.key.split(".")
    node, here = config, ""
    for part in parents:
        here = f"{here}.{part}".lstrip(".")
        known = part in node.keys()  # noqa: SIM118  ("in" alone is false for a value still to give)
        if not known and not override.sign.startswith("+"):
            raise unknown_field(config, override.key)
        child = _value(node, part) if known else None
        if child is None and override.sign.startswith("+"):
            OmegaConf.update(node, part, {}, force_add=True)
            child = node[part]
        if child is None or child == MISSING:
            raise InputError(
                f"`{override.word}`: `{here}` is null in this config and has no fields. Choose a config of its group "
                f"that has them, or set {here}={{...}}."
            )
        if not isinstance(child, DictConfig):
            kind = "a list" if isinstance(child, ListConfig) else "a single value"
            raise InputError(f"`{override.word}`: `{here}` is {kind} and has no fields. Set it whole, as {here}=...")
        node = child
    return node, name


def _value(parent: DictConfig, name: str) -> Any:
    """A field's value, `MISSING` where it is still to give."""
    try:
        return parent[name]
    except OmegaConfBaseException:
        return MISSING


def unknown_field(config: DictConfig, key: str, more: str = "") -> InputError:
    """The error for a field that is not in `config`, with the nearest that are."""
    known = [field for field in fields_of(config) if field != key]
    near = get_close_matches(key, known, n=3, cutoff=0.6)
    name = key.rpartition(".")[2]
    near += [field for field in known if field.rpartition(".")[2] == name and field not in near]
    near += get_close_matches(key, known, n=2, cutoff=0.5) if not near else []
    guess = f" Did you mean {' or '.join(f'`{field}`' for field in near[:3])}?" if near else ""
    return InputError(f"There is no field `{key}` in this command's config.{guess} --help lists all fields.{more}")


def fields_of(config: DictConfig) -> list[str]:
    """The dotted names of all fields, those with fields of their own included."""
    return [name for name, _ in _flat(OmegaConf.to_container(config))]


def missing_fields(config: DictConfig) -> list[str]:
    """The dotted names of the fields whose value is still to give."""
    return [name for name, value in _flat(OmegaConf.to_container(config)) if value == MISSING]


def _flat(container: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in container.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
