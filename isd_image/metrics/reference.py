"""What samples are compared with: features of real images, with where they come from."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isd_core.support import files, seeds
from isd_core.support.errors import InputError
from isd_core.support.progress import Progress
from isd_image.data import ImageData
from isd_image.data.crop import NAME as CROP
from isd_image.data.raw import open_images
from isd_image.metrics.distances import Gaussian
from isd_image.metrics.extractors import Extractor, describe

BATCH = 100
KEPT = 10_000


@dataclass(frozen=True)
class Reference:
    """Statistics of real images; some features [k, D] for the distances that need points, and what they were made of.

    accuracy: the share of the real images that the extractor classifies rightly, if it does and they have labels.
    """

    gaussian: Gaussian
    features: Tensor | None
    source: dict[str, Any]
    extractor: dict[str, str]
    accuracy: float | None = None

    def save(self, path: Path) -> None:
        """Writes an npz with mu and sigma in the names of ADM's reference files."""
        arrays: dict[str, Any] = {"mu": self.gaussian.mean.numpy(), "sigma": self.gaussian.covariance.numpy()}
        if self.features is not None:
            arrays["features"] = self.features.numpy()
        about = {"source": self.source, "extractor": self.extractor, "n": self.gaussian.n, "accuracy": self.accuracy}
        with files.atomic_write(path) as temporary:
            np.savez(temporary, about=json.dumps(about), **arrays)


def load_reference(path: Path, extractor: Extractor) -> Reference:
    """Reads statistics. Raises `InputError` for those of another extractor and for a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
            mean, covariance = torch.from_numpy(arrays["mu"]), torch.from_numpy(arrays["sigma"])
            about = json.loads(str(arrays["about"])) if "about" in arrays else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"reference={path} cannot be read as statistics (npz with mu and sigma): {error}.") from error
    if about is None:  # ADM's published files: Inception statistics without a description
        about = {"source": {"file": path.name, "sha256": files.sha256(path)}, "n": 0, "accuracy": None}
        about["extractor"] = {"name": "inception-v3", "weights": "unknown", "resize": "unknown"}
    for key, value in describe(extractor).items():
        if about["extractor"][key] not in (value, "unknown"):
            raise InputError(
                f"reference={path} holds features of an extractor with {key} `{about['extractor'][key]}`, the chosen "
                f"one has `{value}`. Build the statistics again by python -m isd_image.reference."
            )
    features = torch.from_numpy(arrays["features"]) if "features" in arrays else None
    gaussian = Gaussian(mean.double(), covariance.double(), about["n"])
    return Reference(gaussian, features, about["source"], about["extractor"], about["accuracy"])


def of_split(data: ImageData, name: str, extractor: Extractor) -> Reference:
    """The statistics of a data source's own pixels, drawn without augmentation."""
    images, labels = [], []
    for indices in torch.arange(len(data)).split(BATCH):
        batch = data.batch(indices)
        pixels = data.pixels(batch)
        if pixels is None:
            raise InputError("A cache of latents has no pixels: give reference= a folder of images or an npz.")
        images.append(pixels)
        labels.append(batch["label"])
    source = {"split": name, "images": len(data)}
    return _reference(torch.cat(images), torch.cat(labels), data.classes, source, extractor)


def of_folder(path: str, size: int, channels: int, extractor: Extractor) -> Reference:
    """The statistics of the images at `path` (see `isd_image.data.raw`), cropped to size x size."""
    raw = open_images(path)
    features, logits = [], []
    with Progress(len(raw), "reference", "image") as bar:
        for start in range(0, len(raw), BATCH):
            part = range(start, min(start + BATCH, len(raw)))
            feature, logit = extractor(torch.stack([raw.pixels(i, size, channels) for i in part]))
            features.append(feature)
            logits.append(logit)
            bar.update(len(part))
    source = {"images": Path(path).name, "count": len(raw), "sha256": raw.digest(), "crop": CROP, "size": size}
    labels = torch.tensor([raw.label(i) for i in range(len(raw))])
    known = [logit for logit in logits if logit is not None]
    return _finish(torch.cat(features), torch.cat(known) if known else None, labels, raw.classes, source, extractor)


def _reference(images: Tensor, labels: Tensor, classes: int, source: dict[str, Any], extractor: Extractor) -> Reference:
    features, logits = extract(extractor, images)
    return _finish(features, logits, labels, classes, source, extractor)


def _finish(
    features: Tensor, logits: Tensor | None, labels: Tensor, classes: int, source: dict[str, Any], extractor: Extractor
) -> Reference:
    order = seeds.numpy_rng(0, "reference features").permutation(len(features))[:KEPT]
    accuracy = None
    if logits is not None and classes == extractor.classes:
        accuracy = float((logits.argmax(1) == labels).double().mean())
    kept = features[torch.from_numpy(np.sort(order))]
    return Reference(Gaussian.of(features), kept, source, describe(extractor), accuracy)


def extract(extractor: Extractor, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features [N, D] and logits [N, K] of bytes [N, C, H, W], in batches."""
    parts = [extractor(part) for part in images.split(BATCH)]
    logits = [part[1] for part in parts if part[1] is not None]
    return torch.cat([part[0] for part in parts]), torch.cat(logits) if logits else None
