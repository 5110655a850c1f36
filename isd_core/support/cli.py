"""Commands: a config, overrides on the command line, exit codes.

0: done. 2: the input is wrong, or a check found something. 1: any other error. 130: interrupted. 141: nobody reads the
output any more.
"""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isd_core.support.errors import InputError
from isd_core.support.groups import Groups
from isd_core.support.lazy import CONFIGS as CONFIGS
from isd_core.support.overrides import Override, apply, assign, missing_fields
from isd_core.support.registry import listed

ROOT = Path(__file__).resolve().parents[2]

Choices = dict[str, str | None]
"""The choice of each group (`group` or `group@package`); None where it may be left out and is."""

Main = Callable[[DictConfig], int | None]
"""What a command does with its config; it may return an exit code."""


@dataclass(frozen=True)
class Command:
    """A program: composes `configs/<config_name>.yaml` with the overrides and runs `function` on it.

    `--help` prints every field with its comment, `--cfg` the resolved config. The program leaves no files of its own.
    positional: the field that a word without `=` sets.
    """

    function: Main
    config_name: str
    positional: str | None = None

    def __call__(self) -> None:
        """The process: ends it with the exit code."""
        sys.exit(self.run(*sys.argv[1:]))

    def run(self, *words: str) -> int:
        """The same in this process; returns the exit code."""
        return run(self.function, self.config_name, words, self.positional)


def command(config_name: str, positional: str | None = None) -> Callable[[Main], Command]:
    """Makes a function of a composed config a `Command`."""
    return lambda function: Command(function, config_name, positional)


def run(function: Main, config_name: str, arguments: Sequence[str], positional: str | None = None) -> int:
    """Runs one command and returns its exit code. Errors that are not the user's keep their traceback."""
    try:
        code = _run(function, config_name, arguments, positional)
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _unread(sys.stdout.fileno()):
            raise  # another pipe broke: to a worker, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return 141


def _run(function: Main, config_name: str, arguments: Sequence[str], positional: str | None) -> int:
    flags, words, folders = _sorted(arguments)
    if positional is not None:
        words = [_named(word, config_name, positional) for word in words]
    if flags & {"-h", "--help"}:
        print(help_text(function, config_name, words, folders))
        return 0
    config = compose_config(config_name, words, folders)
    if "--cfg" in flags:
        print(OmegaConf.to_yaml(config, resolve=True), end="")
        return 0
    return function(config) or 0


def _sorted(arguments: Sequence[str]) -> tuple[set[str], list[str], list[Path]]:
    """The arguments as flags, words, and the folders of `--config-dir`. Raises `InputError` for an unknown flag."""
    flags: set[str] = set()
    words: list[str] = []
    folders: list[Path] = []
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag == "--config-dir":
            if not (value := value if equals else next(rest, "")):
                raise InputError("--config-dir needs a folder: --config-dir DIR.")
            folders.append(Path(value).expanduser().absolute())
        elif argument in ("-h", "--help", "--cfg"):
            flags.add(argument)
        elif argument.startswith("-"):
            raise InputError(
                f"Unknown flag {argument}. Fields are set as key=value; --help lists them, --cfg prints the resolved "
                "config, --config-dir DIR adds a folder of configs."
            )
        else:
            words.append(argument)
    return flags, words, folders


def _named(word: str, config_name: str, positional: str) -> str:
    """A word that stands alone as the override of the positional field: one without `=`, or the name of a file."""
    key = word.partition("=")[0]
    alone = "=" not in word and (not word.startswith("~") or "/" in word)
    if alone or (key.split(".")[0] not in root_fields(config_name) and Path(word).exists()):
        return f"{positional}={word}"
    return word


def _unread(descriptor: int) -> bool:
    """Whether this end of a pipe has lost its reader."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


# -- configs ----------------------------------------------------------------------------------------------------------


def compose_config(
    config_name: str,
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
    values: Mapping[str, Any] | None = None,
) -> DictConfig:
    """The composed config with the overrides (see `isd_core.support.overrides`); of two for one field the last counts.

    folders: further groups of configs. values: dotted fields with their values, set after the overrides. Raises
    `InputError` for an unknown field, group or choice, for a value of another type, and for one left out.
    """
    config, _ = _composed(config_name, overrides, Groups.of(CONFIGS, folders))
    for key, value in (values or {}).items():
        assign(config, key, value)
    if missing := sorted(missing_fields(config)):
        raise InputError(f"No value was given for: {', '.join(missing)}. Add {missing[0]}=... to the command.")
    try:
        resolved(config)
    except OmegaConfBaseException as error:
        found = re.search(r"key '([^']+)' not found", str(error))
        absent = f"`{found[1]}`, which this config does not have" if found else f"another ({_line(error)})"
        raise InputError(f"The field `{error.full_key}` refers to {absent}.") from error
    return config


def resolved(config: DictConfig) -> dict[str, Any]:
    """A composed config as plain dicts, lists and scalars."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def _composed(config_name: str, overrides: Sequence[str], groups: Groups) -> tuple[DictConfig, Choices]:
    """The config, in which values may be left out, and the choices of its groups."""
    own, given = root_fields(config_name), [Override.of(word) for word in overrides]
    chosen = {o.target: o for o in given if o.key not in own and groups.chosen_by(o)}
    if any(o.sign.startswith("+") or o.text == "null" for o in given):
        _check_against(_compose(config_name, [], groups)[1], own, given, chosen.values())
    config, choices = _compose(config_name, [groups.word(o) for o in chosen.values()], groups)
    for override in given:
        if override.key in own or not groups.chosen_by(override):
            apply(config, override)
    return config, choices


def _check_against(defaults: Choices, own: set[str], given: Sequence[Override], chosen: Iterable[Override]) -> None:
    """Raises `InputError` for what is added where nothing would read it, and for a needed group that is set to null."""
    known = own | {(group.partition("@")[2] or group).split(".")[0] for group in defaults}
    for override in given:
        place = override.package or override.key
        if override.sign.startswith("+") and place.split(".")[0] not in known:
            raise InputError(
                f"`{override.word}`: this command reads no `{place}`. A + adds fields inside those that it reads: "
                f"{', '.join(sorted(known))}."
            )
    for override in chosen:
        if override.text == "null" and defaults.get(override.target, "") is not None:
            raise InputError(f"`{override.word}`: this command needs a choice; --help lists them.")
        if override.sign == "++" or (override.sign == "+" and override.target in defaults):
            raise InputError(f"`{override.word}`: a choice of `{override.target}` is set without +.")


def _compose(config_name: str, words: Sequence[str], groups: Groups) -> tuple[DictConfig, Choices]:
    """hydra's composition by choices of groups alone."""
    try:
        with initialize_config_dir(str(groups.ours), version_base="1.3"):
            config = compose(config_name, overrides=[*groups.search_path(), *words], return_hydra_config=True)
    except yaml.YAMLError as error:
        raise InputError(f"A config cannot be read: {_line(error)}.") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_explain(config_name, _line(error), groups)) from error
    choices = {name: choice for name, choice in config.hydra.runtime.choices.items() if not name.startswith("hydra/")}
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    return config, choices


def _explain(config_name: str, message: str, groups: Groups) -> str:
    """What hydra says of a choice, with what could be chosen."""
    if found := re.search(r"Could not (?:override|delete) '([^']+)'", message):
        known = ", ".join(sorted(_compose(config_name, [], groups)[1])) or "none"
        return f"This command has no group `{found[1]}`; its groups: {known}."
    if found := re.search(r"In '([^']+)': Could not (?:find|load) '([^']+)/([^'/]+)'", message):
        return f"{found[1]}.yaml asks for {found[2]}={found[3]}; known: {listed(groups.choices(found[2]))}."
    return f"The configs do not fit together: {message}"


def root_fields(config_name: str) -> set[str]:
    """The fields of a command's own file, which go before groups of their names."""
    return {str(key) for key in OmegaConf.load(CONFIGS / f"{config_name}.yaml")} - {"defaults"}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


# -- help -------------------------------------------------------------------------------------------------------------


USAGE = (
    "Fields are set as key=value, of which the last counts; --cfg prints the resolved config and does nothing else,",
    "--config-dir DIR adds choices: the files DIR/GROUP/NAME.yaml.",
)


def help_text(function: Main, config_name: str, overrides: Sequence[str] = (), folders: Sequence[Path] = ()) -> str:
    """The command's purpose, its groups with their choices, and the commented source of every chosen config file."""
    groups = Groups.of(CONFIGS, folders)
    given = {Override.of(word).target for word in overrides}
    lines = [(function.__doc__ or "").strip(), "", *USAGE, ""]
    body = [without_defaults((CONFIGS / f"{config_name}.yaml").read_text())]
    for target, choice in reversed(_composed(config_name, overrides, groups)[1].items()):
        if choice is None:
            continue
        group = target.partition("@")[0]
        mark = "given" if target in given else "default"
        source = groups.source(group, choice)
        others = listed(groups.choices(group))
        body.append(f"\n{target}={choice}   # {mark}; choices: {others}\n" + indent(without_defaults(source), "  "))
    return "\n".join(lines + body).rstrip()


def without_defaults(source: str) -> str:
    """A config file without its defaults list."""
    lines, skipping = [], False
    for line in source.splitlines():
        if line.startswith("defaults:"):
            skipping = True
        elif skipping and line and not line[0].isspace() and not line.startswith("-"):
            skipping = False
        if not skipping and line.strip():
            lines.append(line)
    return "\n".join(lines)
