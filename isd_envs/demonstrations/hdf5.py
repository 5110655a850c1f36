"""Files of demonstrations in HDF5: the one place that opens them and says what is in them.

Two layouts are read. robomimic's has `data/<name>/{actions, states, obs/<key>}`, `data.attrs["env_args"]` and
`mask/<filter key>`; robosuite's own has `data/<name>/{actions, states}` and describes the environment by the attributes
`env`, `env_info` and `repository_version`.

A file does not reach outside itself: what it would take from another file is refused, unless the caller allows it.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isd_core.support.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_LINKS = 16
"""Soft links that lead to one another are followed this often, and a ring of them ends here."""
LAYOUT = "robomimic's layout (data/demo_*/actions, obs/*)"


@contextmanager
def opened(path: Path, external: bool = False) -> Iterator[DemonstrationFile]:
    """The file, for reading. external: whether it may take data from other files.

    Raises `InputError` where it is absent, no HDF5, open in another program, damaged, or of another layout; also for
    errors of the library while the block reads from it.
    """
    if not path.is_file():
        raise InputError(
            f"There is no file {path}. Give data=FILE, a robomimic HDF5 file or a zarr store; isd_envs.demos makes one."
        )
    try:
        # h5py.is_hdf5 says no to a file that its writer has locked, so the signature is looked for here.
        if not _has_signature(path):
            raise InputError(f"{path} is not an HDF5 file; expected a robomimic dataset (data/demo_*/actions, obs/*).")
        with h5py.File(path, "r") as file:
            yield DemonstrationFile(path, file, external)
    except (OSError, RuntimeError) as error:
        raise InputError(failure(path, error)) from error


def _has_signature(path: Path) -> bool:
    """Whether HDF5's signature stands at byte 0, 512, 1024, 2048 and so on."""
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            offset = max(512, 2 * offset)
    return False


def failure(path: Path, error: Exception) -> str:
    """What an error of the library means to the user."""
    text = str(error)
    if getattr(error, "errno", None) in (errno.EAGAIN, errno.EACCES) and "lock" in text:
        return f"{path} is open in another program, probably its recorder. Close it there, and try again."
    if "already open for write" in text:
        return (
            f"{path} is marked as open for writing: its recorder still has it open, or ended without closing it. Close "
            f"it there; if no program has it, clear the mark by `h5clear -s {path.name}`."
        )
    if isinstance(error, PermissionError):
        return f"{path} may not be read by this user ({error.strerror})."
    return f"{path} cannot be read to its end and is probably truncated or damaged ({text}). Copy or generate it again."


def check_own(path: Path) -> None:
    """Raises `InputError` unless all members of a file lie in it.

    For a copy that is to be written to: a write would go through a link into the other file.
    """
    with opened(path) as file:
        file.check_own()


def number(name: str) -> tuple[int, str]:
    """Sorts demo_2 before demo_10."""
    digits = re.search(r"(\d+)$", name)
    return (int(digits[1]) if digits else -1, name)


class DemonstrationFile:
    """An open file. names: of the demonstrations, in the order of their numbers. external: whether it may take data
    from other files.
    """

    def __init__(self, path: Path, file: h5py.File, external: bool) -> None:
        self.path, self._file, self.external = path, file, external
        data = self._member("data")
        if not isinstance(data, h5py.Group):
            raise InputError(f"{path} has no group `data`; expected {LAYOUT}.")
        self._data = data
        self.names = tuple(sorted((name for name in data if self._is_group(f"data/{name}")), key=number))
        if not self.names:
            raise InputError(f"{path} holds no demonstrations: its group `data` is empty; expected {LAYOUT}.")

    # -- members, none of which leads outside -------------------------------------------------------------------------

    def _member(self, path: str, links: int = 0) -> h5py.Group | h5py.Dataset | None:
        """The member at a path, or None. Each link on the way is looked at before it is followed."""
        node: Any = self._file
        parts = [part for part in path.split("/") if part]
        for place, part in enumerate(parts):
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            here = "/".join(parts[: place + 1])
            if link is None:
                return None
            if isinstance(link, h5py.ExternalLink):
                self._outside(here, f"a link to {link.filename}")
            elif isinstance(link, h5py.SoftLink):
                target = link.path if link.path.startswith("/") else "/".join([*parts[:place], link.path])
                found = self._member(target, links + 1) if links < MOST_LINKS else None
                if found is None:
                    raise InputError(
                        f"{self.path}: {here} is a link to {link.path}, which is not in the file. The file is "
                        "incomplete; copy or generate it again."
                    )
                node = found
                continue
            try:
                node = node[part]
            except KeyError as error:
                raise InputError(f"{self.path}: {here} cannot be opened ({error.args[0]}).") from error
        if isinstance(node, h5py.Dataset):
            self._check_storage(path, node)
        return node if isinstance(node, h5py.Group | h5py.Dataset) else None

    def _check_storage(self, path: str, node: h5py.Dataset) -> None:
        if node.external:
            self._outside(path, f"stored in {node.external[0][0]}")
        if node.is_virtual:
            for source in node.virtual_sources():
                if source.file_name != ".":
                    self._outside(path, f"a view of {source.file_name}")

    def _outside(self, path: str, what: str) -> None:
        if not self.external:
            raise InputError(
                f"{self.path}: {path} is {what}. A data file may not take data from other files. Where you trust it, a "
                "training allows that by dataset.external=true, and replay, inspect and convert by external=true."
            )

    def _is_group(self, path: str) -> bool:
        return isinstance(self._member(path), h5py.Group)

    def find(self, name: str, key: str) -> h5py.Dataset | None:
        """The array `data/<name>/<key>`, or None."""
        node = self._member(f"data/{name}/{key}")
        return node if isinstance(node, h5py.Dataset) else None

    def keys(self, name: str, group: str = "") -> list[str]:
        """The arrays of a demonstration, or of a group in it such as `obs`."""
        parent = self._member(f"data/{name}/{group}")
        members = parent if isinstance(parent, h5py.Group) else ()
        return sorted(key for key in members if self.find(name, f"{group}/{key}") is not None)

    def check_own(self) -> None:
        """Looks at every member. Raises `InputError` where one lies outside the file or leads nowhere."""

        seen: set[h5py.h5g.GroupID] = set()

        def walk(path: str) -> None:
            node = self._member(path) if path else self._file
            if not isinstance(node, h5py.Group) or node.id in seen:  # links may form rings
                return
            seen.add(node.id)
            for name in node:
                walk(f"{path}/{name}")

        walk("")

    # -- descriptions -------------------------------------------------------------------------------------------------

    @property
    def env_args(self) -> dict[str, Any]:
        """The environment as robomimic describes it: env_name, env_version, env_kwargs.

        Raises `InputError` where neither description is there, or it is no JSON.
        """
        attributes = self._data.attrs
        try:
            if "env_args" in attributes:
                found = json.loads(attributes["env_args"])
            else:
                arguments = json.loads(attributes["env_info"])
                version, name = str(attributes["repository_version"]), str(attributes["env"])
                found = {"env_name": name, "env_version": version, "env_kwargs": arguments}
            if isinstance(found, dict) and isinstance(found.get("env_name"), str):
                return found
            reason = "it is no object with env_name"
        except KeyError as error:
            reason = f"there is no {error}"
        except (TypeError, ValueError) as error:
            reason = str(error)
        raise InputError(
            f"{self.path} does not say of which environment it is ({reason}): data.attrs['env_args'] is missing or not "
            "the JSON that robomimic writes, an object with env_name and env_kwargs; nor are there robosuite's own "
            "attributes env, env_info and repository_version."
        )

    @property
    def filter_keys(self) -> tuple[str, ...]:
        """The lists of demonstrations under `mask`."""
        masks = self._member("mask")
        return tuple(sorted(masks)) if isinstance(masks, h5py.Group) else ()

    def mask(self, key: str) -> tuple[str, ...]:
        """The demonstrations that a filter key lists.

        Raises `InputError` for an unknown key, and for what is no list of names.
        """
        if key not in self.filter_keys:
            raise InputError(
                f"{self.path} has no filter key `{key}` under `mask` (it has: "
                f"{', '.join(self.filter_keys) or 'none'}). Set dataset.filter_key to one of them, or to null for all "
                "demonstrations."
            )
        node = self._member(f"mask/{key}")
        if not isinstance(node, h5py.Dataset) or node.ndim > 1 or node.dtype.kind not in "OSU":
            found = f"{node.dtype} of shape {node.shape}" if isinstance(node, h5py.Dataset) else "a group"
            raise InputError(f"{self.path}: mask/{key} is {found}; expected a list of names such as demo_0.")
        values = np.atleast_1d(node[()])
        try:
            return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path}: mask/{key} holds a name that is no UTF-8 ({error}).") from error

    def steps_stated(self, name: str) -> int | None:
        """The attribute `num_samples` of a demonstration, or None where it has none."""
        stated = self._data[name].attrs.get("num_samples")
        if stated is None:
            return None
        try:
            return int(stated)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.path}: data/{name} says num_samples = {stated!r}; expected a number.") from error

    def start(self, name: str) -> dict[str, Any]:
        """The start of a demonstration, as an engine wrote it; `InputError` where there is none."""
        try:
            found = json.loads(self._data[name].attrs["start"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: data/{name} has no attribute start that can be read ({error}).") from error
        if not isinstance(found, dict):
            raise InputError(f"{self.path}: data/{name} starts at {found!r}; expected fields by name.")
        return found

    def model_xml(self, name: str) -> str:
        """robosuite's model of a demonstration: in its attribute, or in the file `models/<attribute>` beside this one.

        Raises `InputError` where neither is there, and for a name that leads out of that folder.
        """
        text = self._data[name].attrs.get("model_file")
        text = text.decode() if isinstance(text, bytes) else text
        if not isinstance(text, str):
            raise InputError(f"{self.path}: data/{name} has no attribute model_file, robosuite's model as XML.")
        if text.lstrip().startswith("<"):
            return text
        folder = self.path.parent / "models"
        beside = folder / text
        if not self.external and (Path(text).name != text or beside.resolve().parent != folder.resolve()):
            self._outside(f"the model of data/{name}", f"the file {text}")
        if not beside.is_file():
            raise InputError(f"{self.path} names the model {text}, which is not at {beside}.")
        return beside.read_text()
