"""Who reads a file: the reader that is named, or the one that recognises it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.hdf5_groups import is_hdf5
from isd_core.support.registry import ROLES, TYPE, build
from isd_core.support.zarr_groups import is_group
from isd_policy.data import formats, mapping, pusht, robomimic, trees, zarr_store
from isd_policy.data.lerobot import reader as lerobot
from isd_policy.data.reader import Reader
from isd_policy.data.robomimic import Robomimic

MEMBERS = (robomimic, zarr_store, pusht, mapping, formats, lerobot)
"""Imported so that their readers are registered."""
MAPPED = ("observations", "actions", "episodes")
"""Options that are fields of a reader, where it has them."""


def reader_of(path: Path, options: Mapping[str, Any]) -> Reader:
    """The reader of a file.

    options: `reader`, a name of the role or its config, and what maps the arrays (`MAPPED`). Without a name it is the
    reader that recognises the file, or the mapping. Raises `InputError` where there is none, and for a mapping that the
    named reader does not take.
    """
    named = options.get("reader")
    mapped = {key: options[key] for key in MAPPED if options.get(key)}
    if named is None:
        return build("reader", {TYPE: "mapping", **mapped}, where="dataset") if mapped else _recognised(path, options)
    config = {TYPE: named} if isinstance(named, str) else named
    if not isinstance(config, Mapping):
        raise InputError(f"dataset.reader={named}: expected a reader's name, or its fields with type: NAME.")
    return build("reader", {**config, **mapped}, where="dataset.reader")


def _recognised(path: Path, options: Mapping[str, Any]) -> Reader:
    external = bool(options.get("external"))
    for name in sorted(ROLES["reader"].members):
        member = ROLES["reader"].members[name]
        if all(p.default is not p.empty for p in member.parameters().values()):
            found = build("reader", {TYPE: name})
            if found.recognises(path, external):
                return found
    if not path.exists() or (path.is_dir() and not is_group(path)) or not trees.is_tree(path):
        return Robomimic()  # says what is expected
    with trees.opened(path, external) as tree:
        hdf5 = path.is_file() and is_hdf5(path)
        group = "has no group `data` of robomimic's layout" if hdf5 else "does not say of which environment it is"
        raise InputError(
            f"{path} {group}, and no reader knows it ({', '.join(ROLES['reader'].names())}). It holds {tree.listed()}. "
            "Say which array is what: dataset.observations={state: PATH} dataset.actions=PATH task=own."
        )
