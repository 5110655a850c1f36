"""Small image collections, decoded once and kept in memory."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from isd_core.support.errors import InputError
from isd_core.support.fields import Decay, Index, Size
from isd_core.support.progress import Progress
from isd_core.support.registry import register
from isd_image.data.arrays import ImageSource, LabelledImages
from isd_image.data.decode import SHOWN, BadImageError, check_bad
from isd_image.data.entries import Entries
from isd_image.data.raw import open_images

THREADS = 4


@register("source", "folder")
@dataclass(frozen=True)
class Folder(ImageSource):
    """The images of `root/<train>` (and of `root/<held_out>`, if named) as pixels, cropped to size x size.

    For collections that fit into memory (50,000 images of 32 x 32 take 150 MB); larger ones go through
    `python -m isd_image.cache`. Without `labelled` the class folders are one heap. classes: the
    expected number, which tar files may fall short of; max_bad: the largest share of the
    images that may be unreadable; follow_links: whether links may lead out of the folder.
    Raises `InputError` for a missing folder and for more unreadable images.
    """

    root: str
    train: str
    held_out: str | None
    size: Size
    channels: Literal[1, 3]
    mirror: bool
    labelled: bool
    classes: Index | None = None
    max_bad: Decay = 0.001
    follow_links: bool = False

    def split(self, name: str) -> LabelledImages:
        """The "train" or the "held_out" images as bytes [N, C, size, size]."""
        part = self.train if name == "train" else self.held_out
        if part is None:
            raise InputError(f"data.source.held_out names no folder of {self.root}: nothing is held out.")
        expected = (self.classes or None) if self.labelled else None
        raw = open_images(str(Path(self.root) / part), expected, self.follow_links)
        raw.tell_skipped()
        images, labels, bad = [], [], []
        with ThreadPoolExecutor(THREADS) as pool, Progress(len(raw), f"read {part or self.root}", "image") as bar:
            for i, image in enumerate(pool.map(partial(self._load, raw), range(len(raw)))):
                if isinstance(image, BadImageError):
                    bad.append(str(image))
                else:
                    images.append(image)
                    labels.append(raw.label(i) if self.labelled else 0)
                bar.update()
        check_bad(bad, len(raw), self.max_bad)
        if bad:
            print(f"{raw.source}: {len(bad)} bad files were left out: {'; '.join(bad[:SHOWN])}.", file=sys.stderr)
        classes = raw.classes if self.labelled else 0
        names = raw.names if self.labelled else ()
        return LabelledImages(torch.stack(images), torch.tensor(labels), classes, raw.source, self.mirror, names)

    def _load(self, raw: Entries, i: int) -> Tensor | BadImageError:
        try:
            return raw.pixels(i, self.size, self.channels)
        except BadImageError as error:
            return error
