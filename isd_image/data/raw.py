"""Raw images from wherever a path leads: a tree of class folders, a flat folder, tar shards."""

from __future__ import annotations

import glob
from pathlib import Path

from isd_core.support.errors import InputError
from isd_image.data.entries import Entries
from isd_image.data.tars import read_tars
from isd_image.data.trees import read_folder


def open_images(path: str, classes: int | None = None, follow_links: bool = False) -> Entries:
    """The images at `path`: a tree of class folders, a flat folder (no labels), a tar file, or a pattern of tar files.

    Classes are numbered in the order of their folders' names. classes: the expected number; tar files may use fewer.
    follow_links: whether links may lead out of the folder; otherwise such files are left out. Hidden files are never
    data. Raises `InputError` where there are no images, and where they are of another number of classes.
    """
    if Path(path).is_dir():
        found = read_folder(Path(path), follow_links)
    else:
        shards = [Path(name) for name in sorted(glob.glob(path))]
        if not shards or any(shard.suffix != ".tar" for shard in shards):
            raise InputError(
                f"images={path}: expected a folder of images, a folder with one folder of images a class, or tar files "
                "(a pattern such as 'train-*.tar')."
            )
        found = read_tars(path, shards, classes)
    if classes is not None and classes != found.classes:
        raise InputError(f"{found.source} has {found.classes} classes, the config says classes={classes}.")
    return found
