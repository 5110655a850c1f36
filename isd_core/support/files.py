"""Files that are whole or absent: everything is written to a temporary name, flushed to the disk and renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from math import isinf
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError

TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]+)\.(?P<pid>\d+)\.tmp(\..*)?")
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; when the block ends well it becomes `path`, otherwise it is removed.

    The block may create a file or a directory. An existing file is replaced; an existing directory is an error of the
    caller (`FileExistsError`), because a directory cannot be replaced in one step. What has the name is on the disk:
    after a power cut it is there whole, or what was there before is. What a killed process left of the same path is
    removed. A full disk is an `InputError`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.tmp{path.suffix}")
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_dir() and path.exists():
            raise FileExistsError(path)
        _flush(temporary)
        os.replace(temporary, path)
        _flush_one(path.parent)  # the name itself: without it a power cut can undo the renaming
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(
            f"{path} was not written: {os.strerror(error.errno)}. What was there before is as it was. Free some space "
            "and give the same command again."
        ) from error
    finally:
        _remove(temporary)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Removes the temporary files and directories in `folder` (those of `name` alone, if given) whose writer is gone.

    That is told for writers of this machine, by their process: what other machines write is left alone.
    """
    for path in folder.glob(".*.tmp*"):
        found = TEMPORARY.fullmatch(path.name)
        if found is None or found["host"] != _host() or (name is not None and found["name"] != name):
            continue
        if not _is_running(int(found["pid"])):
            _remove(path)


def _host() -> str:
    return socket.gethostname().replace(".", "-")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _flush(path: Path) -> None:
    """Everything at `path` to the disk: files first, then the directories that name them."""
    if path.is_dir():
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                _flush_one(Path(folder) / name)
            _flush_one(Path(folder))
    elif path.is_file():
        _flush_one(path)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes `content` as indented JSON, atomically. NaN and infinities are refused (`ValueError`)."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def parse_json(text: str | bytes, finite: bool = True) -> Any:
    """The content of a JSON text from anywhere.

    Raises `ValueError` for what is none, for nesting without end, and, with `finite`, for numbers that are not finite:
    what is read here is written again, and JSON has no such numbers.
    """
    hooks: dict[str, Any] = {"parse_constant": _no_number, "parse_float": _finite} if finite else {}
    try:
        return json.loads(text, **hooks)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no number of JSON")


def _finite(text: str) -> float:
    if isinf(value := float(text)):
        raise ValueError(f"it holds the number {text[:20]}, which is too large")
    return value


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads JSON; raises `InputError` with the file's name when it is absent or not JSON."""
    path = Path(path)
    try:
        return parse_json(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; expected a JSON file.") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); it was cut off or is another kind of file.") from error


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
