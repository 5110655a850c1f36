"""Training data from a latent cache."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from isd_core.support.errors import InputError
from isd_core.support.fields import Size
from isd_core.support.files import read_json
from isd_core.support.registry import register
from isd_image.data.arrays import ImageSource, mirror_some
from isd_image.data.crop import NAME as CROP
from isd_image.data.shards import FORMAT, INDEX, map_shard, shard_path
from isd_image.data.verified import check_shards

WRITTEN = {"codec", "crop", "size", "classes", "images", "shards"}


@register("source", "cache")
@dataclass(frozen=True)
class Cache(ImageSource):
    """A folder written by `python -m isd_image.cache`.

    codec, factor and size (of a latent) are those that the training expects: a cache of another codec or crop raises
    `InputError`. For a cache of bytes, `mirror` flips at random; a cache of latents holds its mirrors. Nothing is held
    out of it. Every shard is compared with its SHA-256, once.
    """

    root: str
    codec: str
    factor: Size
    size: Size
    mirror: bool

    held_out: ClassVar[None] = None

    def split(self, name: str) -> CachedImages:
        """The images of the cache; it is one split ("train")."""
        if name != "train":
            raise InputError(f"A cache has no `{name}` images: evaluate against a folder of images.")
        index = read_json(Path(self.root) / INDEX)
        if not isinstance(index, dict) or index.get("format") != FORMAT or not index.keys() >= WRITTEN:
            raise InputError(f"{self.root}/{INDEX} is no index of a cache of format {FORMAT}. Build it again.")
        found, wanted = index["codec"]["name"], self.codec
        if found != wanted:
            raise InputError(f"{self.root} was encoded by the codec `{found}`, the config says codec `{wanted}`.")
        if index["crop"] != CROP:
            raise InputError(
                f"{self.root} holds images of the crop `{index['crop']}`, this version trains on `{CROP}`."
            )
        if index["size"] != self.size * self.factor:
            raise InputError(
                f"{self.root} holds images of {index['size']} pixels, the config expects data.size={self.size} times "
                f"codec.factor={self.factor} = {self.size * self.factor}."
            )
        if "mean" not in index or "std" not in index:
            raise InputError(f"{self.root}/{INDEX} has no latent statistics (mean, std). Build the cache again.")
        if not len(index["mean"]) == len(index["std"]) == index["codec"]["channels"]:
            raise InputError(
                f"{self.root}/{INDEX} has {len(index['mean'])} means and {len(index['std'])} stds for "
                f"{index['codec']['channels']} channels. Build the cache again."
            )
        images = CachedImages(Path(self.root), index, self.mirror)
        check_shards(Path(self.root), index["shards"])
        return images


class CachedImages:
    """The rows of a cache. With mirrors in it, an image and its mirror are two rows."""

    def __init__(self, root: Path, index: Mapping[str, Any], mirror: bool) -> None:
        if not index["shards"]:
            raise InputError(f"{root}/{INDEX} names no shards. Build the cache again.")
        maps = [map_shard(shard_path(root, shard["number"])) for shard in index["shards"]]
        self._moments = [moments for moments, _ in maps]
        self._labels = np.concatenate([labels for _, labels in maps])
        self._ends = list(accumulate(len(moments) for moments in self._moments))
        if self._ends[-1] != index["images"]:
            raise InputError(f"{root}: the shards hold {self._ends[-1]} images, {INDEX} says {index['images']}.")
        self.source, self.classes, self.codec = str(root), index["classes"], index["codec"]
        self._check(root, index)
        self._content = {
            "images": index["images"],
            "classes": index.get("class_names") or index["classes"],
            "sha256": hashlib.sha256(" ".join(shard["sha256"] for shard in index["shards"]).encode()).hexdigest(),
        }
        self._variants = self._moments[0].shape[1]
        self._channels = index["codec"]["channels"]
        self._mean, self._std = index["mean"], index["std"]
        self.mirror = mirror and self._variants == 1

    def _check(self, root: Path, index: Mapping[str, Any]) -> None:
        """Raises `InputError` for shards that are not what the index says."""
        channels, side = index["codec"]["channels"], index["size"] // index["codec"]["factor"]
        for shard, moments in zip(index["shards"], self._moments, strict=True):
            path = shard_path(root, shard["number"])
            shape = moments.shape
            fits = len(shape) == 5 and shape[2] in (channels, 2 * channels) and shape[3:] == (side, side)
            if not fits or shape[1:] != self._moments[0].shape[1:] or shape[0] != shard["images"]:
                raise InputError(
                    f"{path} holds moments of the shape {list(shape)}; {INDEX} says {shard['images']} images of "
                    f"{channels} channels and {side} x {side}. Delete it and run the cache command again."
                )
        highest = int(self._labels.max(initial=0))
        if int(self._labels.min(initial=0)) < 0 or highest >= max(self.classes, 1):
            raise InputError(f"{root} holds labels up to {highest}, {INDEX} says {self.classes} classes.")

    def content(self) -> dict[str, Any]:
        """What the cache is, wherever it lies."""
        return dict(self._content)

    @property
    def shape(self) -> tuple[int, int, int]:
        """[C, h, w] of a latent."""
        height, width = self._moments[0].shape[3:]
        return self._channels, height, width

    def __len__(self) -> int:
        return self._variants * len(self._labels)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """The mean and the standard deviation [C] of the cached latents; 0 and 1 for pixels kept as bytes."""
        if self._moments[0].dtype == np.uint8:
            return torch.zeros(self._channels), torch.ones(self._channels)
        return torch.tensor(self._mean), torch.tensor(self._std)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """{"moments": [B, M, h, w] in the stored type, "label": [B]}"""
        rows, variants = np.divmod(indices.numpy(), self._variants)
        out = np.empty((len(rows), *self._moments[0].shape[2:]), self._moments[0].dtype)
        for position, (row, variant) in enumerate(zip(rows.tolist(), variants.tolist(), strict=True)):
            shard = bisect_right(self._ends, row)
            first = self._ends[shard - 1] if shard else 0
            out[position] = self._moments[shard][row - first, variant]
        return {"moments": torch.from_numpy(out), "label": torch.from_numpy(self._labels[rows])}

    def draw(self, batch: Mapping[str, Tensor], rng: Generator) -> Tensor:
        """[B, C, h, w]: a sample of each latent where the codec is Gaussian, the latent itself otherwise."""
        moments = batch["moments"]
        if moments.dtype == torch.uint8:
            x = moments.float() / 127.5 - 1
        elif moments.shape[1] == 2 * self._channels:
            mean, std = moments.float().chunk(2, dim=1)
            x = mean + std * torch.randn(mean.shape, generator=rng, device=mean.device)
        else:
            x = moments.float()
        return mirror_some(x, rng) if self.mirror else x

    def pixels(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """The rows of a cache of bytes."""
        return batch["moments"] if batch["moments"].dtype == torch.uint8 else None
