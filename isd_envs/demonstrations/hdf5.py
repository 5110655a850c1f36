"""Files of demonstrations in HDF5: the one place that opens them and says what is in them.

Two layouts are read. robomimic's has `data/<name>/{actions, states, obs/<key>}`, `data.attrs["env_args"]` and
`mask/<filter key>`; robosuite's own has `data/<name>/{actions, states}` and describes the environment by the attributes
`env`, `env_info` and `repository_version`.

A file does not reach outside itself: what it would take from another file is refused, unless the caller allows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isd_core.support import hdf5_groups
from isd_core.support.errors import InputError
from isd_core.support.files import parse_json
from isd_core.support.hdf5_groups import HDF5File, number

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
    with hdf5_groups.opened(path, external, expected="a robomimic dataset (data/demo_*/actions, obs/*)") as found:
        yield DemonstrationFile(found)


def check_own(path: Path) -> None:
    """Raises `InputError` unless all members of a file lie in it.

    For a copy that is to be written to: a write would go through a link into the other file.
    """
    with opened(path) as file:
        file.within.check_own()


class DemonstrationFile:
    """An open file. names: of the demonstrations, in the order of their numbers. external: whether it may take data
    from other files.
    """

    def __init__(self, within: HDF5File) -> None:
        self.path, self.within, self.external = within.path, within, within.external
        data = within.member("data")
        if not isinstance(data, h5py.Group):
            raise InputError(f"{self.path} has no group `data`; expected {LAYOUT}.")
        self._data = data
        self.names = tuple(sorted((name for name in data if self._is_group(f"data/{name}")), key=number))
        if not self.names:
            raise InputError(f"{self.path} holds no demonstrations: its group `data` is empty; expected {LAYOUT}.")

    def _is_group(self, path: str) -> bool:
        return isinstance(self.within.member(path), h5py.Group)

    def find(self, name: str, key: str) -> h5py.Dataset | None:
        """The array `data/<name>/<key>`, or None."""
        node = self.within.member(f"data/{name}/{key}")
        return node if isinstance(node, h5py.Dataset) else None

    def keys(self, name: str, group: str = "") -> list[str]:
        """The arrays of a demonstration, or of a group in it such as `obs`."""
        parent = self.within.member(f"data/{name}/{group}")
        members = parent if isinstance(parent, h5py.Group) else ()
        return sorted(key for key in members if self.find(name, f"{group}/{key}") is not None)

    # -- descriptions -------------------------------------------------------------------------------------------------

    @property
    def says_environment(self) -> bool:
        """Whether the file describes an environment at all, well or badly."""
        return "env_args" in self._data.attrs or "env" in self._data.attrs

    @property
    def env_args(self) -> dict[str, Any]:
        """The environment as robomimic describes it: env_name, env_version, env_kwargs.

        Raises `InputError` where neither description is there, or it is no JSON.
        """
        attributes = self._data.attrs
        try:
            if "env_args" in attributes:
                found = parse_json(attributes["env_args"])
            else:
                arguments = parse_json(attributes["env_info"])
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
        masks = self.within.member("mask")
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
        node = self.within.member(f"mask/{key}")
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
            found = parse_json(self._data[name].attrs["start"])
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
        if not self.within.external and (Path(text).name != text or beside.resolve().parent != folder.resolve()):
            self.within.outside(f"the model of data/{name}", f"the file {text}")
        if not beside.is_file():
            raise InputError(f"{self.path} names the model {text}, which is not at {beside}.")
        return beside.read_text()
