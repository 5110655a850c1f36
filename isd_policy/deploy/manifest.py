"""Folders of files with a manifest: a JSON file that holds the SHA-256 of each of them and of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, read_json, sha256

Fill = Callable[[Path], Mapping[str, Any]]
"""Writes files into a folder and returns what is to be said about them."""


@dataclass(frozen=True)
class Manifest:
    """The manifest of one kind of folder.

    file: its name; kind: what the folder is called; version: of its format; keys: what it must hold; maker: the command
    that makes such folders.
    """

    file: str
    kind: str
    version: int
    keys: tuple[str, ...]
    maker: str

    def find(self, path: str | Path) -> Path | None:
        """The folder that `path` stands for, itself or a file in it; None when there is no such manifest."""
        path = Path(path)
        folder = path.parent if path.is_file() else path
        return folder if (folder / self.file).is_file() else None

    def write(self, folder: Path, content: Mapping[str, Any], fill: Fill) -> Path:
        """Makes `folder`, whole or not at all: what `fill` writes, and `content` with what `fill` says.

        Raises `InputError` when there is something at `folder` already.
        """
        if folder.exists():
            raise InputError(f"{folder} exists. Give another out=, or remove it.")
        with atomic_write(folder) as temporary:
            temporary.mkdir(parents=True)
            said = fill(temporary)
            hashes = {file.name: sha256(file) for file in sorted(temporary.iterdir())}
            whole = {"format": self.version, **content, **said, "sha256": hashes}
            (temporary / self.file).write_text(_with_own_hash(whole, self.file))
        return folder

    def read(self, path: str | Path) -> tuple[Path, dict[str, Any]]:
        """The folder that `path` stands for and the content of its manifest. The other files are not read.

        Raises `InputError` when there is none, where it is not what was written, and for another format.
        """
        folder = self.find(path)
        if folder is None:
            raise InputError(
                f"There is no {self.kind} at {path}: expected a folder with {self.file}. {self.maker} makes one."
            )
        file = folder / self.file
        content = read_json(file)
        if not isinstance(content, dict) or "format" not in content:
            raise InputError(f"{file} does not describe {self.kind}.")
        if content["format"] != self.version:
            raise InputError(
                f"{folder} has {self.kind} format {content['format']}; this version reads format {self.version}. "
                "Update the package, or make it again from its checkpoint."
            )
        if not _intact(content, self.file, file.read_text()):
            raise InputError(f"{file} is damaged: it is not what was written. Copy the folder again.")
        if absent := [key for key in self.keys if key not in content]:
            raise InputError(f"{file} lacks `{absent[0]}`: it does not describe {self.kind}.")
        return folder, content


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
        return text == _with_own_hash({**content, "sha256": hashes}, name)
    except (KeyError, AttributeError, ValueError):  # a changed byte may leave anything
        return False


def _with_own_hash(content: Mapping[str, Any], name: str) -> str:
    """The JSON text with its own hash: the SHA-256 of the same text without it."""
    hashes = {name: hashlib.sha256(_text(content).encode()).hexdigest(), **content["sha256"]}
    return _text({**content, "sha256": hashes})


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
