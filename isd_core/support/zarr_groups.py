"""Opening zarr groups: folders, and ZIP files that hold one.

A store does not reach outside itself: a folder with links that lead out of it is refused, unless the caller allows it.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.zarr_checks import check_codecs

MARKERS = ("zarr.json", ".zgroup")


def is_group(path: Path) -> bool:
    """Whether a path is a zarr group: a folder, or a ZIP file with one."""
    if path.is_dir():
        return any((path / marker).exists() for marker in MARKERS)
    return zipfile.is_zipfile(path) and _root_in_zip(path) is not None


def _root_in_zip(path: Path) -> str | None:
    """The outermost group in a ZIP file, such as `` or `name.zarr`."""
    with zipfile.ZipFile(path) as archive:
        names = [path for name in archive.namelist() if not _hidden(path := Path(name))]
    groups = [str(name.parent) for name in names if name.name in MARKERS]
    root = min(groups, key=lambda name: len(Path(name).parts), default=None)
    return "" if root == "." else root


def _hidden(path: Path) -> bool:
    """Whether a member belongs to the system that made the archive, such as `__MACOSX/._x.zarr/.zgroup`."""
    return any(part == "__MACOSX" or part.startswith(".") for part in path.parts[:-1])


def _check_own(folder: Path) -> None:
    """Raises `InputError` where a file of the store lies elsewhere."""
    root = folder.resolve()
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                check_link(Path(entry.path), folder, root)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))


def check_link(place: Path, folder: Path, root: Path | None = None) -> None:
    """Raises `InputError` where a part of the store `folder` is a link out of it. root: the folder, resolved."""
    if place.is_symlink() and not (target := place.resolve()).is_relative_to(root or folder.resolve()):
        raise InputError(
            f"{folder}: {place.relative_to(folder)} is a link to {target}. A data file may not take data from other "
            "files. Where you trust it, a training allows that by dataset.external=true, and replay, inspect and "
            "convert by external=true."
        )


def open_group(path: Path, external: bool = False) -> Any:
    """The root group, for reading. external: whether its files may lie elsewhere, behind symbolic links.

    Raises `InputError` for a damaged store, for such links, for codecs that could run code, and without zarr.
    """
    try:
        import zarr
        from zarr.storage import ZipStore
    except ImportError as error:
        raise InputError(f"{path} needs the package zarr ({error}): pip install 'isd-flow[zarr]'.") from error
    try:
        if path.is_dir() and not external:
            _check_own(path)
        check_codecs(path)
        if path.is_dir():
            return zarr.open_group(path, mode="r")
        return zarr.open_group(ZipStore(path, mode="r"), mode="r", path=_root_in_zip(path))
    except InputError:
        raise
    except Exception as error:  # zarr raises what it likes on damaged metadata: TypeError, AttributeError, ValueError
        raise InputError(f"{path} cannot be opened as a zarr group ({error}). Copy or convert it again.") from error
