"""Raw images to cache shards, in one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isd_core.support.device import pick_device
from isd_core.support.errors import InputError
from isd_core.support.progress import Progress
from isd_core.support.registry import build
from isd_image.codecs import Codec
from isd_image.codecs.base import pixel_channels
from isd_image.data.decode import BadImageError
from isd_image.data.entries import Entries
from isd_image.data.raw import open_images
from isd_image.data.shards import DTYPES, ShardNotes, read_notes, shard_path, write_shard
from isd_image.pool import ordered

DECODE_THREADS = 4


@dataclass(frozen=True)
class EncodeConfig:
    """The fields of the cache command that the encoding depends on."""

    images: str
    out: Path
    codec: Mapping[str, Any]
    size: int
    mirror: bool
    dtype: str
    precision: str
    shard_size: int
    batch_size: int
    follow_links: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"dtype={self.dtype} is unknown; known: {', '.join(DTYPES)}.")
        if self.dtype == "uint8" and self.codec["factor"] != 1:
            raise InputError("dtype=uint8 keeps pixels: it goes with codec=identity; latents need float16 or float32.")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision={self.precision} is unknown: float32 or bfloat16.")
        if min(self.size, self.shard_size, self.batch_size) < 1:
            raise InputError("size, shard_size and batch_size must be at least 1.")
        if self.size % self.codec["factor"]:
            raise InputError(f"size={self.size} is not a multiple of the codec's factor {self.codec['factor']}.")


@dataclass
class Encoder:
    """One process's codec and images."""

    config: EncodeConfig
    codec: Codec
    raw: Entries
    device: torch.device
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(DECODE_THREADS))

    def shard(self, number: int) -> ShardNotes:
        """Encodes shard `number` and writes it. Images that cannot be read are noted and left out.

        Raises `InputError` for latents that are not finite.
        """
        first = number * self.config.shard_size
        numbers = range(first, min(first + self.config.shard_size, len(self.raw)))
        moments: list[Tensor] = []
        labels: list[int] = []
        bad: list[str] = []
        sums = torch.zeros(2, self.codec.channels, dtype=torch.float64)
        for images, good, failed in self._batches(numbers):
            bad += failed
            if not good:
                continue
            rows = [self._encode(images)]
            if self.config.mirror:
                rows.append(self._encode(images.flip(-1)))
            for mean, std in rows:
                self._check(mean, std, good)
                sums += _sums(mean, std)
            stacked = torch.stack([mean if std is None else torch.cat([mean, std], 1) for mean, std in rows], 1)
            moments.append(self._store(stacked))
            labels += [self.raw.label(i) for i in good]
        tensor = torch.cat(moments) if moments else self._nothing()
        side = self.config.size // self.codec.factor
        notes = ShardNotes(
            bad, sums[0].tolist(), sums[1].tolist(), len(labels) * tensor.shape[1] * side * side, len(labels)
        )
        write_shard(shard_path(self.config.out, number), tensor, torch.tensor(labels, dtype=torch.int64), notes)
        return notes

    def _batches(self, numbers: range) -> Iterator[tuple[Tensor, list[int], list[str]]]:
        for start in range(0, len(numbers), self.config.batch_size):
            part = numbers[start : start + self.config.batch_size]
            loaded = list(self._pool.map(self._load, part))
            good = [i for i, image in zip(part, loaded, strict=True) if isinstance(image, Tensor)]
            failed = [str(error) for error in loaded if isinstance(error, BadImageError)]
            images = [image for image in loaded if isinstance(image, Tensor)]
            yield (torch.stack(images) if images else torch.empty(0)), good, failed

    def _load(self, i: int) -> Tensor | BadImageError:
        try:
            return self.raw.pixels(i, self.config.size, pixel_channels(self.codec.channels, self.codec.factor))
        except BadImageError as error:
            return error

    @torch.no_grad()
    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Bytes [B, C, H, W] -> mean and std of their latents, float32, on the CPU."""
        x = images.to(self.device).float() / 127.5 - 1
        low = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext():
            mean, std = self.codec.encode(x)
        return mean.float().cpu(), None if std is None else std.float().cpu()

    def _check(self, mean: Tensor, std: Tensor | None, numbers: list[int]) -> None:
        both = mean if std is None else torch.cat([mean, std], 1)
        broken = ~torch.isfinite(both.to(DTYPES[self.config.dtype]) if self.config.dtype != "uint8" else both)
        if bool(broken.any()):
            first = numbers[int(broken.flatten(1).any(1).nonzero()[0])]
            raise InputError(
                f"The codec `{self.codec.name}` gives latents that are NaN or infinite in {self.config.dtype} for "
                f"{self.raw.key(first)}. Use dtype=float32 and precision=float32, or other weights."
            )

    def _store(self, moments: Tensor) -> Tensor:
        if self.config.dtype == "uint8":
            return ((moments + 1) * 127.5).round().clamp(0, 255).byte()
        return moments.to(DTYPES[self.config.dtype])

    def _nothing(self) -> Tensor:
        side = self.config.size // self.codec.factor
        return torch.empty(0, 1 + self.config.mirror, self.codec.channels, side, side).to(DTYPES[self.config.dtype])


def _sums(mean: Tensor, std: Tensor | None) -> Tensor:
    """[2, C] sums of the latents and of their squares; a Gaussian latent's variance counts."""
    squares = mean.double().square()
    if std is not None:
        squares = squares + std.double().square()
    return torch.stack([mean.double().sum((0, 2, 3)), squares.sum((0, 2, 3))])


def make_encoder(config: EncodeConfig, device: str) -> Callable[[int], ShardNotes]:
    """A worker that encodes shards by number: the codec on its device, and the images."""
    chosen = pick_device(device)
    return Encoder(
        config,
        build("codec", config.codec).to(chosen),
        open_images(config.images, follow_links=config.follow_links),
        chosen,
    ).shard


def encode_all(config: EncodeConfig, count: int, processes: int, device: str) -> dict[int, ShardNotes]:
    """Encodes the shards that are missing; returns the notes of all, by number. `count` is the number of images."""
    found = {i: read_notes(shard_path(config.out, i)) for i in range(-(-count // config.shard_size))}
    notes = {number: note for number, note in found.items() if note is not None}
    missing = [number for number, note in found.items() if note is None]
    done = sum(n.images + len(n.bad) for n in notes.values())
    with Progress(count, "encode", "image", initial=done) as bar:
        results = ordered(partial(make_encoder, config), missing, processes, device)
        for number, result in zip(missing, results, strict=True):
            notes[number] = result
            bar.update(result.images + len(result.bad), unreadable=sum(len(n.bad) for n in notes.values()))
    return dict(sorted(notes.items()))
