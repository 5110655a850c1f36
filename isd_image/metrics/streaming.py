"""Statistics of images that do not fit into memory: they pass by once, in numbered parts, in one process or several.

A part's sums depend on its images alone and the parts are merged in their order, so the result is the same bit for bit
for any number of processes, and after an interruption.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isd_core.support import files, seeds
from isd_core.support.errors import InputError
from isd_core.support.files import parse_json
from isd_core.support.progress import Progress
from isd_core.support.registry import build
from isd_image.data.crop import NAME as CROP
from isd_image.data.decode import READING, BadImageError, check_bad
from isd_image.data.entries import Entries
from isd_image.data.raw import open_images
from isd_image.metrics.extractors import Extractor, Features, describe
from isd_image.metrics.moments import Moments
from isd_image.npz import DAMAGED, Streamed
from isd_image.pool import ordered

BATCH = 100
PART = 5000
KEPT = 10_000
"""Images whose features stay, for the distances that need points."""
SAVE_SECONDS = 60
THREADS = 4


@dataclass
class Sums:
    """What is known of the images seen so far.

    kept: features of those that were chosen; hits of `judged` labelled images were classified rightly; bad: number and
    message of those that could not be read.
    """

    moments: Moments = field(default_factory=Moments)
    spatial: Moments = field(default_factory=Moments)
    kept: list[Tensor] = field(default_factory=list)
    hits: int = 0
    judged: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)

    def add(self, found: Features, keep: Tensor, labels: Tensor | None) -> None:
        """A batch of B images. keep: [B] whether an image's features stay; labels: [B] where they count."""
        self.moments.add(found.features)
        if found.spatial is not None:
            self.spatial.add(found.spatial)
        if bool(keep.any()):
            self.kept.append(found.features[keep])
        if found.logits is not None and labels is not None:
            self.hits += int((found.logits.argmax(1) == labels).sum())
            self.judged += len(labels)

    def merge(self, later: Sums) -> None:
        """Adds what `later` has seen, which comes after."""
        self.moments.merge(later.moments)
        self.spatial.merge(later.spatial)
        self.kept += later.kept
        self.hits += later.hits
        self.judged += later.judged
        self.bad += later.bad

    @property
    def accuracy(self) -> float | None:
        """The share of the labelled images that the extractor classifies rightly."""
        return self.hits / self.judged if self.judged else None


def chosen(count: int) -> np.ndarray:
    """[count] which of so many images keep their features: `KEPT` of them at most, the same ones every time."""
    mask = np.zeros(count, bool)
    mask[seeds.numpy_rng(0, "reference features").permutation(count)[:KEPT]] = True
    return mask


@dataclass(frozen=True)
class Images:
    """Raw images as they are to be measured: `images` as in `open_images`, cropped to size x size."""

    images: str
    size: int
    channels: int
    max_bad: float = 0.001
    follow_links: bool = False

    def open(self) -> Entries:
        return open_images(self.images, follow_links=self.follow_links)

    def described(self, raw: Entries, bad: int) -> dict[str, Any]:
        """What decides the statistics, for the protocol."""
        read = {"count": len(raw), "unreadable": bad, "sha256": raw.digest(), "crop": CROP, "reading": READING}
        return {"images": Path(self.images).name, **read, "size": self.size}


class PartWorker:
    """Part number n -> its sums."""

    def __init__(self, wanted: Images, extractor: Extractor) -> None:
        self.wanted, self.extractor, self.raw = wanted, extractor, wanted.open()
        self.keep = torch.from_numpy(chosen(len(self.raw)))
        self.judged = self.raw.classes > 0 and self.raw.classes == extractor.classes
        self.threads = ThreadPoolExecutor(THREADS)

    def __call__(self, number: int) -> Sums:
        sums = Sums()
        first = number * PART
        for start in range(first, min(first + PART, len(self.raw)), BATCH):
            numbers = range(start, min(start + BATCH, first + PART, len(self.raw)))
            loaded = list(zip(numbers, self.threads.map(self._load, numbers), strict=True))
            sums.bad += [(i, str(image)) for i, image in loaded if isinstance(image, BadImageError)]
            good = [(i, image) for i, image in loaded if isinstance(image, Tensor)]
            if good:
                rows = torch.tensor([i for i, _ in good])
                labels = torch.tensor([self.raw.label(i) for i, _ in good]) if self.judged else None
                sums.add(self.extractor(torch.stack([image for _, image in good])), self.keep[rows], labels)
        return sums

    def _load(self, i: int) -> Tensor | BadImageError:
        try:
            return self.raw.pixels(i, self.wanted.size, self.wanted.channels)
        except BadImageError as error:
            return error


def _make_worker(wanted: Images, config: Mapping[str, Any], device: str) -> PartWorker:
    own = {"device": device} if "device" in config else {}
    return PartWorker(wanted, build("extractor", {**config, **own}))


def measure(
    wanted: Images,
    extractor: Extractor,
    config: Mapping[str, Any] | None = None,
    processes: int = 1,
    device: str = "auto",
    unfinished: Path | None = None,
) -> tuple[Entries, Sums]:
    """The sums over all images.

    config: builds the extractor in each of several processes. unfinished: where an interrupted run keeps its sums, and
    goes on from. Raises `InputError` for more unreadable images than allowed, and for sums of something else there.
    """
    raw = wanted.open()
    raw.tell_skipped()
    plan = {"images": wanted.described(raw, 0), "extractor": describe(extractor), "part": PART}
    done, sums = (0, Sums()) if unfinished is None else _load(unfinished, plan)
    todo = range(done, -(-len(raw) // PART))
    make: Callable[[str], PartWorker]
    if processes > 1 and config is not None:
        make = partial(_make_worker, wanted, config)
    else:
        make = lambda _: PartWorker(wanted, extractor)  # noqa: E731
    saved = time.monotonic()
    with Progress(len(raw), "reference", "image", initial=min(done * PART, len(raw))) as bar:
        for number, part in zip(todo, ordered(make, todo, processes, device), strict=True):
            sums.merge(part)
            check_bad([message for _, message in sums.bad], len(raw), wanted.max_bad)
            bar.update(min(PART, len(raw) - number * PART), unreadable=len(sums.bad))
            if unfinished is not None and time.monotonic() - saved >= SAVE_SECONDS and number + 1 < todo.stop:
                _save(unfinished, plan, number + 1, sums)
                saved = time.monotonic()
    return raw, sums


def pictures(raw: Entries, sums: Sums, wanted: Images) -> Streamed:
    """The chosen images as bytes [k, H, W, C], in the order of their features."""
    unread = {number for number, _ in sums.bad}
    rows = [int(i) for i in np.flatnonzero(chosen(len(raw))) if int(i) not in unread]

    def parts() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(THREADS) as threads:
            for start in range(0, len(rows), BATCH):
                load = partial(raw.pixels, size=wanted.size, channels=wanted.channels)
                images = torch.stack(list(threads.map(load, rows[start : start + BATCH])))
                yield images.permute(0, 2, 3, 1).numpy()

    return Streamed((len(rows), wanted.size, wanted.size, wanted.channels), parts())


def _save(path: Path, plan: dict[str, Any], done: int, sums: Sums) -> None:
    about = {"plan": plan, "done": done, "hits": sums.hits, "judged": sums.judged, "bad": sums.bad}
    arrays: dict[str, Any] = {"kept": torch.cat(sums.kept).numpy()} if sums.kept else {}
    for name, moments in {"all": sums.moments, "spatial": sums.spatial}.items():
        if moments.mean is not None and moments.scatter is not None:
            arrays |= {f"{name}_mean": moments.mean.numpy(), f"{name}_scatter": moments.scatter.numpy()}
            about[f"{name}_n"] = moments.n
    with files.atomic_write(path) as temporary:
        np.savez(temporary, about=json.dumps(about), **arrays)


def _load(path: Path, plan: dict[str, Any]) -> tuple[int, Sums]:
    if not path.exists():
        return 0, Sums()
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: torch.from_numpy(file[key]) for key in file.files if key != "about"}
            about = parse_json(str(file["about"]))
    except DAMAGED as error:
        raise InputError(f"{path} is damaged ({error}): delete it to start anew.") from error
    for key, value in plan.items():
        if about["plan"].get(key) != value:
            raise InputError(f"{path} was begun with other {key}: delete it to start anew, or choose another out.")
    moments = {
        name: Moments(about[f"{name}_n"], arrays[f"{name}_mean"], arrays[f"{name}_scatter"])
        if f"{name}_n" in about
        else Moments()
        for name in ("all", "spatial")
    }
    kept = [arrays["kept"]] if "kept" in arrays else []
    bad = [(number, message) for number, message in about["bad"]]
    return about["done"], Sums(moments["all"], moments["spatial"], kept, about["hits"], about["judged"], bad)
