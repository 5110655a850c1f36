"""Small image collections, decoded once and kept in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from isd_core.support.errors import InputError
from isd_core.support.fields import Size
from isd_core.support.progress import Progress
from isd_core.support.registry import register
from isd_image.data.arrays import ImageSource, LabelledImages
from isd_image.data.raw import open_images

THREADS = 4


@register("source", "folder")
@dataclass(frozen=True)
class Folder(ImageSource):
    """The images of `root/<train>` (and of `root/<held_out>`, if named) as pixels, cropped to size x size.

    For collections that fit into memory (50,000 images of 32 x 32 take 150 MB); larger ones go through
    `python -m isd_image.cache`. Without `labelled` the class folders are one heap.
    Raises `InputError` for a missing folder and for an image that cannot be read.
    """

    root: str
    train: str
    held_out: str | None
    size: Size
    channels: Literal[1, 3]
    mirror: bool
    labelled: bool

    def split(self, name: str) -> LabelledImages:
        """The "train" or the "held_out" images as bytes [N, C, size, size]."""
        part = self.train if name == "train" else self.held_out
        if part is None:
            raise InputError(f"data.source.held_out names no folder of {self.root}: nothing is held out.")
        raw = open_images(str(Path(self.root) / part))

        def load(i: int) -> torch.Tensor:
            return raw.pixels(i, self.size, self.channels)

        images = []
        with ThreadPoolExecutor(THREADS) as pool, Progress(len(raw), f"read {part or self.root}", "image") as bar:
            for image in pool.map(load, range(len(raw))):
                images.append(image)
                bar.update()
        labels = torch.tensor([raw.label(i) if self.labelled else 0 for i in range(len(raw))])
        classes = raw.classes if self.labelled else 0
        return LabelledImages(torch.stack(images), labels, classes, raw.source, self.mirror)
