"""Samples that depend on (seed, index, label) and on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isd_core.sampling import Sampler, check_nfe
from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.progress import Progress
from isd_image.codecs import Codec
from isd_image.model import ImageModel
from isd_image.pool import ordered

ROUNDING = "clip to [-1, 1], then round (x + 1) * 127.5 to the nearest byte"


def noise(seed: int, indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """[n, *shape] standard noise; that of sample i comes from (seed, i), whatever else is drawn."""
    return torch.stack([torch.randn(shape, generator=seeds.torch_rng(seed, "image sample", i)) for i in indices])


def to_bytes(images: Tensor) -> np.ndarray:
    """[N, C, H, W] in [-1, 1] -> [N, H, W, C] bytes, by `ROUNDING`. Raises `InputError` for NaN and infinities."""
    if bad := int((~torch.isfinite(images)).flatten(1).any(1).sum()):
        raise InputError(
            f"{bad} of {len(images)} samples are NaN or infinite, so they are no images: the training diverged, or the "
            "weights are not those of this network or codec. Choose an earlier checkpoint."
        )
    levels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu()
    return levels.permute(0, 2, 3, 1).contiguous().numpy()


def check_labels(labels: Sequence[int] | None, classes: int, learned_null: bool = True) -> list[int]:
    """The wanted classes, all of them for None; `InputError` for a label that the model does not know.

    The label `classes` stands for no class; it is the only one of data without labels. learned_null: whether the
    network was trained with rows of no class (`Guidance.learned_null`); otherwise that label's embedding is noise.
    """
    if labels is None:
        return list(range(classes)) or [classes]
    for label in labels:
        if not 0 <= label <= classes:
            raise InputError(f"label {label} is unknown: known are 0 to {classes - 1}, and {classes} for no class.")
        if label == classes > 0 and not learned_null:
            raise InputError(
                f"label {label} means no class, which this network never saw in training: give labels from 0 to "
                f"{classes - 1}, or train with guidance=post or pre."
            )
    if not labels:
        raise InputError("labels=[] names no class; leave it out for all.")
    return list(labels)


class Generator:
    """Draws images from a trained model."""

    def __init__(
        self,
        model: ImageModel,
        sampler: Sampler,
        codec: Codec,
        shape: tuple[int, int, int],
        classes: int,
    ) -> None:
        self.model, self.sampler, self.codec = model, sampler, codec
        self.shape, self.classes = shape, classes
        self.device = next(model.parameters()).device

    @torch.no_grad()
    def latents(self, seed: int, indices: Sequence[int], labels: Sequence[int], nfe: int) -> Tensor:
        """[n, C, h, w] samples number `indices`, of classes `labels`, in the data's units; `nfe` evaluations each."""
        z = noise(seed, indices, self.shape).to(self.device)
        cond = {"label": torch.tensor(labels, device=self.device)}
        return self.model.normaliser.inverse(self.sampler(self.model.net, z, nfe, cond))

    def __call__(self, seed: int, indices: Sequence[int], labels: Sequence[int], nfe: int) -> Tensor:
        """The same as images [n, C, H, W] in [-1, 1] (not clipped), on the CPU."""
        return self.codec.decode(self.latents(seed, indices, labels, nfe)).float().cpu()


@dataclass(frozen=True)
class SamplePlan:
    """Which samples to draw: `count` for each of `nfe`, sample i of class cycle[i mod len(cycle)].

    load: builds the generator on a device; codec: the identity of what decodes, for the record. Batches have exactly
    `batch_size` rows, the last one padded and cut: matrix products round differently in batches of different size, so
    that with one size the images are the same bit for bit for any number of processes. Raises `InputError` for counts
    below 1.
    """

    load: Callable[[str], Generator]
    seed: int
    nfe: tuple[int, ...]
    count: int
    batch_size: int
    cycle: tuple[int, ...]
    codec: Mapping[str, Any] = field(default_factory=dict)
    _starts: tuple[int, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        for nfe in self.nfe:
            check_nfe(nfe)
        if not self.nfe or self.count < 1 or self.batch_size < 1:
            raise InputError("nfe must name at least one number, and count and batch_size must be at least 1.")
        object.__setattr__(self, "_starts", tuple(range(0, self.count, self.batch_size)))

    def label(self, i: int) -> int:
        """The class of sample i."""
        return self.cycle[i % len(self.cycle)]

    def worker(self, device: str) -> Callable[[int], np.ndarray]:
        """A function from a task's number to its images as bytes [n, H, W, C]."""
        return partial(self._batch, self.load(device))

    def _batch(self, generator: Generator, task: int) -> np.ndarray:
        nfe, start = self.nfe[task // len(self._starts)], self._starts[task % len(self._starts)]
        wanted = list(range(start, min(start + self.batch_size, self.count)))
        indices = wanted + [wanted[0]] * (self.batch_size - len(wanted))
        images = generator(self.seed, indices, [self.label(i) for i in indices], nfe)
        return to_bytes(images[: len(wanted)])

    def draw(self, processes: int, device: str, quiet: bool = False) -> Iterator[tuple[int, int, np.ndarray]]:
        """(nfe, number of the first sample, bytes [n, H, W, C]) in order, with a progress bar unless `quiet`."""
        tasks = range(len(self.nfe) * len(self._starts))
        with Progress(len(self.nfe) * self.count, "sample", "image", quiet=quiet) as bar:
            for task, images in zip(tasks, ordered(self.worker, tasks, processes, device), strict=True):
                nfe = self.nfe[task // len(self._starts)]
                bar.update(len(images), nfe=nfe)
                yield nfe, self._starts[task % len(self._starts)], images

    def described(self) -> dict[str, Any]:
        """What decides whether numbers of these samples are comparable with numbers of others."""
        classes = str(list(self.cycle)) if len(self.cycle) <= 20 else f"{self.cycle[0]} to {self.cycle[-1]}"
        labels = f"classes {classes} in turn"
        return {"count": self.count, "labels": labels, "rounding": ROUNDING, "codec": dict(self.codec)}
