"""CIFAR-10 as torchvision keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from isd_core.support.errors import InputError
from isd_core.support.registry import register
from isd_image.data.arrays import ImageSource, LabelledImages

CLASSES = 10


@register("source", "torchvision_cifar10")
@dataclass(frozen=True)
class TorchvisionCIFAR10(ImageSource):
    """`root/cifar-10-batches-py`, whose files torchvision compares with their known MD5 before it opens them.

    With `download` torchvision fetches what is missing. Raises `InputError` when the files are absent or damaged.
    """

    root: str
    download: bool
    mirror: bool

    held_out: ClassVar[str] = "test"

    def split(self, name: str) -> LabelledImages:
        """The "train" or the "held_out" images as bytes [N, 3, 32, 32]."""
        try:
            from torchvision.datasets import CIFAR10
        except ImportError as error:
            raise InputError(
                "data=cifar10_torchvision needs the package torchvision: pip install 'isd-flow[eval]'."
            ) from error
        try:
            data = CIFAR10(self.root, train=name == "train", download=self.download)
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"data.source.root={self.root} holds no whole cifar-10-batches-py ({error}): set "
                "data.source.download=true, or unpack cifar-10-python.tar.gz there."
            ) from error
        images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        return LabelledImages(images, torch.tensor(data.targets), CLASSES, f"cifar10/{name}", self.mirror)
