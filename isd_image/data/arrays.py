"""Labelled images in memory: what every data source of this package gives to the trainer."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from isd_core.support.errors import InputError
from isd_core.support.registry import role
from isd_image.codecs.base import PIXELS


class ImageData(Protocol):
    """A split of images or latents that the trainer draws batches from.

    `shape` is [C, H, W] of what the network sees; `classes` counts the labels, 0 for data without labels;
    `codec` is the identity of what encoded them (`isd_image.codecs.base.identity`).
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def classes(self) -> int: ...

    @property
    def codec(self) -> Mapping[str, Any]: ...

    def __len__(self) -> int: ...

    def content(self) -> dict[str, Any]:
        """What the data is, wherever it lies: the number of images, a hash of them and of their labels, the classes."""
        ...

    def statistics(self) -> tuple[Tensor, Tensor]:
        """The mean and the standard deviation [C] by which the network's input is normalised."""
        ...

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """Stored tensors for [B] indices, among them "label": [B] long."""
        ...

    def draw(self, batch: Mapping[str, Tensor], rng: Generator) -> Tensor:
        """[B, C, H, W] float images or latents from a batch, on the batch's device; augmented by `rng`."""
        ...

    def pixels(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """The images of a batch as bytes [B, C, H, W], not augmented; None where there are latents alone."""
        ...


@role("source", "image_sources")
class ImageSource(ABC):
    """Where images come from: the config slot `data.source`.

    A source has `held_out` too: what its split that training never sees is made of; None for none.
    """

    @abstractmethod
    def split(self, name: str) -> ImageData:
        """The images of a split, such as "train"; `InputError` when there is none of that name."""


@dataclass(frozen=True)
class LabelledImages:
    """Images [N, C, H, W] and labels [N]; bytes stand for pixels 0 to 255, floats are in [-1, 1] already.

    With `mirror`, images are flipped left to right with probability one half. `classes` is 0 for images without labels;
    `names` are the classes', if they have some.
    Raises `InputError` for labels outside [0, classes) and for values that are not finite.
    """

    images: Tensor
    labels: Tensor
    classes: int
    source: str
    mirror: bool = False
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels) or len(self.images) == 0:
            raise InputError(f"{self.source}: {len(self.images)} images, but {len(self.labels)} labels.")
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest >= max(self.classes, 1):
            raise InputError(
                f"{self.source}: labels run from {lowest} to {highest}, but the data is said to have {self.classes} "
                "classes (labels 0 to classes - 1). Correct data.classes or the labels."
            )
        if self.images.is_floating_point() and not bool(torch.isfinite(self.images).all()):
            raise InputError(f"{self.source}: some pixels are NaN or infinite.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """[C, H, W]"""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def codec(self) -> dict[str, Any]:
        """Pixels, which no codec encoded."""
        return {"name": "identity", "channels": self.shape[0], "factor": 1, "weights": PIXELS}

    def content(self) -> dict[str, Any]:
        digest = hashlib.sha256(str(self.images.dtype).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.contiguous().numpy().data)
        return {"images": len(self), "classes": list(self.names) or self.classes, "sha256": digest.hexdigest()}

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> LabelledImages:
        """The same images in the memory of a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """{"image": [B, C, H, W], "label": [B]}"""
        indices = indices.to(self.labels.device)
        return {"image": self.images[indices], "label": self.labels[indices]}

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Pixels are in [-1, 1] by convention: mean 0, standard deviation 1."""
        return torch.zeros(self.shape[0]), torch.ones(self.shape[0])

    def draw(self, batch: Mapping[str, Tensor], rng: Generator) -> Tensor:
        """[B, C, H, W] in [-1, 1]"""
        x = batch["image"]
        if x.dtype == torch.uint8:
            x = x.float() / 127.5 - 1
        return mirror_some(x, rng) if self.mirror else x

    def pixels(self, batch: Mapping[str, Tensor]) -> Tensor:
        x = batch["image"]
        return x if x.dtype == torch.uint8 else ((x.clamp(-1, 1) + 1) * 127.5).round().byte()


def mirror_some(x: Tensor, rng: Generator) -> Tensor:
    """[B, C, H, W] with each image flipped left to right with probability one half."""
    flip = torch.rand(len(x), generator=rng, device=x.device) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(-1), x)
