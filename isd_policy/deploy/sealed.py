"""Folders of files with a JSON file that holds the SHA-256 of each of them and of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, read_json, sha256

Fill = Callable[[Path], Mapping[str, Any]]
"""Writes files into a folder and returns what is to be said about them."""


def write(folder: Path, name: str, content: Mapping[str, Any], fill: Fill) -> Path:
    """Makes `folder`, whole or not at all: what `fill` writes, and `content` with what `fill` says as the JSON `name`.

    Raises `InputError` when there is something at `folder` already.
    """
    if folder.exists():
        raise InputError(f"{folder} exists. Give another out=, or remove it.")
    with atomic_write(folder) as temporary:
        temporary.mkdir(parents=True)
        said = fill(temporary)
        hashes = {file.name: sha256(file) for file in sorted(temporary.iterdir())}
        (temporary / name).write_text(_sealed({**content, **said, "sha256": hashes}, name))
    return folder


def read(folder: Path, name: str, version: int, what: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The content of a folder's JSON file, whose `format` must be `version` and which must have all `keys`.

    Raises `InputError` where it is not what was written, and for another format. The other files are not read.
    """
    path = folder / name
    content = read_json(path)
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path} does not describe {what}.")
    if content["format"] != version:
        raise InputError(
            f"{folder} has {what} format {content['format']}; this version reads format {version}. Update the package, "
            "or make it again from its checkpoint."
        )
    if not _intact(content, name, path.read_text()):
        raise InputError(f"{path} is damaged: it is not what was written. Copy the folder again.")
    if absent := [key for key in keys if key not in content]:
        raise InputError(f"{path} lacks `{absent[0]}`: it does not describe {what}.")
    return content


def check(folder: Path, name: str, hashes: Mapping[str, str]) -> Path:
    """The path of a file of the folder; `InputError` when it is not there or not what was written."""
    path = folder / name
    if name not in hashes or not path.is_file():
        raise InputError(f"{folder} has no {name}; it holds {', '.join(sorted(hashes))}.")
    if sha256(path) != hashes[name]:
        raise InputError(f"{path} is damaged: its SHA-256 is not the one recorded beside it. Copy the folder again.")
    return path


def _intact(content: Mapping[str, Any], name: str, text: str) -> bool:
    try:
        hashes = {file: value for file, value in content["sha256"].items() if file != name}
        return text == _sealed({**content, "sha256": hashes}, name)
    except (KeyError, AttributeError, ValueError):  # a changed byte may leave anything
        return False


def _sealed(content: Mapping[str, Any], name: str) -> str:
    """The JSON text with its own hash: the SHA-256 of the same text without it."""
    hashes = {name: hashlib.sha256(_text(content).encode()).hexdigest(), **content["sha256"]}
    return _text({**content, "sha256": hashes})


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
