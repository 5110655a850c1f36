"""Commands: a config, overrides on the command line, exit codes (0 done, 2 the input is wrong, 1 anything else)."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isd_core.support.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


def command(
    config_name: str, positional: str | None = None
) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Turns `main(cfg)` into a program: composes `configs/<config_name>.yaml` with the overrides and runs it.

    `--help` prints every field with its comment, `--cfg` the resolved config. The program leaves no files of its own.
    positional: the field that a first word without `=` sets.
    """

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def main() -> None:
            sys.exit(run(function, config_name, sys.argv[1:], positional))

        return main

    return decorate


def run(
    function: Callable[[DictConfig], None], config_name: str, arguments: Sequence[str], positional: str | None = None
) -> int:
    """Runs one command and returns its exit code. Errors that are not the user's keep their traceback."""
    try:
        check_packages()
        flags = {word for word in arguments if word.startswith("-")}
        overrides = [word for word in arguments if word not in flags]
        if positional is not None and overrides and "=" not in overrides[0]:
            overrides[0] = f"{positional}={overrides[0]}"
        if flags & {"-h", "--help"}:
            print(help_text(function, config_name, overrides))
            return 0
        if unknown := flags - {"--cfg"}:
            raise InputError(
                f"Unknown flag {sorted(unknown)[0]}. Fields are set as key=value; --help lists them, --cfg prints "
                "the resolved config."
            )
        config = compose_config(config_name, overrides)
        if "--cfg" in flags:
            print(OmegaConf.to_yaml(config, resolve=True), end="")
            return 0
        function(config)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def check_packages() -> None:
    """Raises `InputError` when another top-level `configs` or `envs` hides ours."""
    for name in ("configs", "envs"):
        spec = importlib.util.find_spec(name)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
        if ROOT / name not in places:
            found = ", ".join(map(str, places)) or "nothing"
            raise InputError(
                f"The package `{name}` of this project lies in {ROOT / name}, but Python finds {found} under that "
                "name first. Run the command from another folder, or rename or uninstall the other package."
            )


def compose_config(config_name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The composed config. Raises `InputError` for an unknown key, group or choice and for a value left out."""
    try:
        words, plain = _split_plain(config_name, overrides)
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose(config_name, overrides=words)
        for key, value in plain.items():
            config[key] = None if value == "null" else value
        resolved(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_explain(config_name, error)) from error
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise InputError(f"No value was given for: {', '.join(missing)}. Add {missing[0]}=... to the command.")
    return config


def resolved(config: DictConfig) -> dict[str, Any]:
    """A composed config as plain dicts, lists and scalars."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def _split_plain(config_name: str, overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The overrides for hydra, and those of fields of the root file that share their name with a group.

    hydra would take `data=FILE` for a choice of the group `data`, which other commands have.
    """
    fields = OmegaConf.load(CONFIGS / f"{config_name}.yaml").keys() - {"defaults"}
    named = {key for key in fields if (CONFIGS / str(key)).is_dir()}
    plain = dict(word.split("=", 1) for word in overrides if word.split("=", 1)[0] in named and "=" in word)
    return [word for word in overrides if word.split("=", 1)[0] not in named], plain


def _explain(config_name: str, error: Exception) -> str:
    """Hydra's message in one paragraph, with the nearest known key."""
    message = " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        return f"`{error.override}` is no override: {message}. Expected key=value; quote special characters."
    if found := re.search(r"Could not override '([^']+)'", message):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            known = _leaves(compose(config_name))
        near = get_close_matches(found[1], known, n=3, cutoff=0.5)
        return (
            f"There is no field `{found[1]}` in this command's config."
            + (" Did you mean " + " or ".join(f"`{key}`" for key in near) + "?" if near else "")
            + " --help lists all fields."
        )
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", message):
        choices = ", ".join(_choices(found[1]))
        return f"There is no {found[1]} called `{found[2]}`; known: {choices}."
    return message


def _leaves(config: DictConfig, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key in map(str, config):
        node = config._get_node(key)
        keys.append(f"{prefix}{key}")
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            keys += _leaves(node, f"{prefix}{key}.")
    return keys


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def help_text(function: Callable[[DictConfig], None], config_name: str, overrides: Sequence[str] = ()) -> str:
    """The command's purpose, its groups with their choices, and the commented source of every chosen config file."""
    chosen = dict(word.lstrip("+").split("=", 1) for word in overrides if "=" in word)
    root = (CONFIGS / f"{config_name}.yaml").read_text()
    lines = [(function.__doc__ or "").strip(), "", "Fields are set as key=value:", ""]
    body = [_fields(root)]
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            words, _ = _split_plain(config_name, overrides)
            hydra = compose(config_name, overrides=words, return_hydra_config=True).hydra
    except HydraException as error:
        raise InputError(_explain(config_name, error)) from error
    for group, choice in reversed(hydra.runtime.choices.items()):
        if choice is None or group.startswith("hydra/"):
            continue
        others = ", ".join(_choices(group))
        mark = "given" if group in chosen else "default"
        source = (CONFIGS / group / f"{choice}.yaml").read_text()
        body.append(f"\n{group}={choice}   # {mark}; choices: {others}\n" + _indent(_fields(source)))
    return "\n".join(lines + body).rstrip()


def _fields(source: str) -> str:
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


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
