"""Unpacks a zip of `<class>_<name>.jpg` files: python -m scripts.setup.class_folders ZIP FOLDER."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path, PurePosixPath

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write


def unpack(source: Path, folder: Path) -> int:
    """Writes `folder/<class>/<class>_<name>.jpg`, whole or not at all; returns how many. Other members are left out.

    Raises `InputError` for a file that is no zip or holds no such images.
    """
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{source} cannot be read as a zip file: {error}.") from error
    names = [PurePosixPath(name) for name in archive.namelist()]
    images = [name for name in names if name.suffix.lower() in (".jpg", ".jpeg", ".png") and "_" in name.name]
    if not images:
        raise InputError(f"{source} holds no files named <class>_<name>.jpg.")
    with atomic_write(folder) as temporary:
        for name in images:
            target = temporary / name.name.partition("_")[0] / name.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(str(name)))
    return len(images)


def main() -> int:
    """The command."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        count = unpack(Path(sys.argv[1]), Path(sys.argv[2]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} images. Written: {sys.argv[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
