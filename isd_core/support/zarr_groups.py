"""Opening zarr groups: folders, and ZIP files that hold one."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError

MARKERS = ("zarr.json", ".zgroup")


def is_group(path: Path) -> bool:
    """Whether a path is a zarr group: a folder, or a ZIP file with one."""
    if path.is_dir():
        return any((path / marker).exists() for marker in MARKERS)
    return zipfile.is_zipfile(path) and _root_in_zip(path) is not None


def _root_in_zip(path: Path) -> str | None:
    """The outermost group in a ZIP file, such as `` or `name.zarr`."""
    with zipfile.ZipFile(path) as archive:
        names = [Path(name) for name in archive.namelist()]
    groups = [str(name.parent) for name in names if name.name in MARKERS]
    root = min(groups, key=lambda name: len(Path(name).parts), default=None)
    return "" if root == "." else root


def open_group(path: Path) -> Any:
    """The root group, for reading. Raises `InputError` for a damaged store and without the package zarr."""
    try:
        import zarr
        from zarr.storage import ZipStore
    except ImportError as error:
        raise InputError(f"{path} needs the package zarr ({error}): pip install 'isd-flow[zarr]'.") from error
    try:
        if path.is_dir():
            return zarr.open_group(path, mode="r")
        return zarr.open_group(ZipStore(path, mode="r"), mode="r", path=_root_in_zip(path))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be opened as a zarr group ({error}). Copy or convert it again.") from error
