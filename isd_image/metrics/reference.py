"""What samples are compared with: features of real images, with where they come from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.files import parse_json
from isd_core.support.registry import build
from isd_image.data import ImageData
from isd_image.metrics.distances import Gaussian
from isd_image.metrics.extractors import Extractor, describe
from isd_image.metrics.streaming import BATCH, Images, Sums, chosen, measure, pictures
from isd_image.npz import DAMAGED, Streamed, write_npz


@dataclass(frozen=True)
class Reference:
    """Statistics of real images; some features [k, D] for the distances that need points, and what they were made of.

    spatial: statistics of ADM's spatial features, where the extractor gives them. accuracy: the share of the real
    images that the extractor classifies rightly, if it does and they have labels.
    """

    gaussian: Gaussian
    features: Tensor | None
    source: dict[str, Any]
    extractor: dict[str, str]
    accuracy: float | None = None
    spatial: Gaussian | None = None

    @classmethod
    def of(cls, sums: Sums, source: dict[str, Any], extractor: Extractor) -> Reference:
        """Raises `InputError` for fewer than two images."""
        spatial = sums.spatial.gaussian() if sums.spatial.n else None
        kept = torch.cat(sums.kept) if sums.kept else None
        return cls(sums.moments.gaussian(), kept, source, describe(extractor), sums.accuracy, spatial)

    def save(self, path: Path, pictures: Streamed | None = None) -> None:
        """Writes an npz with the names of ADM's reference files: mu, sigma, mu_s, sigma_s of its spatial features, and
        arr_0 for the images from which its evaluator takes precision and recall.
        """
        arrays: dict[str, np.ndarray | Streamed | str] = {}
        for end, gaussian in {"": self.gaussian, "_s": self.spatial}.items():
            if gaussian is not None:
                arrays |= {f"mu{end}": gaussian.mean.numpy(), f"sigma{end}": gaussian.covariance.numpy()}
        if self.features is not None:
            arrays["features"] = self.features.numpy()
        about = {"source": self.source, "extractor": self.extractor, "n": self.gaussian.n, "accuracy": self.accuracy}
        arrays["about"] = json.dumps(about)
        if pictures is not None:
            arrays["arr_0"] = pictures
        write_npz(path, arrays)


def load_reference(path: Path, extractor: Extractor) -> Reference:
    """Reads statistics.

    Raises `InputError` for those of another extractor, for a file that is none, and for numbers that cannot be
    statistics.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            mean, covariance = torch.from_numpy(file["mu"]), torch.from_numpy(file["sigma"])
            features = torch.from_numpy(file["features"]) if "features" in file.files else None
            about = parse_json(str(file["about"])) if "about" in file.files else _published(path)
            wanted = {key: about[key] for key in ("source", "extractor", "n", "accuracy")}
            wanted["extractor"] = {key: wanted["extractor"][key] for key in describe(extractor)}
    except (*DAMAGED, TypeError) as error:
        raise InputError(f"reference={path} cannot be read as statistics (npz with mu and sigma): {error}.") from error
    for key, value in describe(extractor).items():
        if wanted["extractor"][key] not in (value, "unknown"):
            raise InputError(
                f"reference={path} holds features of an extractor with {key} `{wanted['extractor'][key]}`, the chosen "
                f"one has `{value}`. Build the statistics again by python -m isd_image.reference."
            )
    gaussian = Gaussian(mean.double(), covariance.double(), wanted["n"])
    _check(path, gaussian, features)
    return Reference(gaussian, features, wanted["source"], wanted["extractor"], wanted["accuracy"])


def _published(path: Path) -> dict[str, Any]:
    """The description of ADM's files: Inception statistics without one."""
    extractor = {"name": "inception-v3", "weights": "unknown", "resize": "unknown"}
    source = {"file": path.name, "sha256": files.sha256(path)}
    return {"source": source, "extractor": extractor, "n": 0, "accuracy": None}


def _check(path: Path, gaussian: Gaussian, features: Tensor | None) -> None:
    mean, covariance = gaussian.mean, gaussian.covariance
    size = len(mean) if mean.ndim == 1 else 0
    problem = None
    if not size or covariance.shape != (size, size):
        problem = f"mu has the shape {list(mean.shape)} and sigma {list(covariance.shape)}; expected [D] and [D, D]"
    elif features is not None and features.shape[1:] != (size,):
        problem = f"features have the shape {list(features.shape)}; expected [k, {size}]"
    elif not all(bool(torch.isfinite(x).all()) for x in (mean, covariance, *([] if features is None else [features]))):
        problem = "some numbers are NaN or infinite"
    elif bool((covariance.diagonal() < 0).any()) or not torch.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-6):
        problem = "sigma is no covariance (it has to be symmetric, with a diagonal that is nowhere negative)"
    if problem is not None:
        raise InputError(f"reference={path} cannot be used: {problem}. Build or download it again.")


def of_split(data: ImageData, name: str, extractor: Extractor) -> Reference:
    """The statistics of a data source's own pixels, drawn without augmentation."""
    sums, keep = Sums(), torch.from_numpy(chosen(len(data)))
    for indices in torch.arange(len(data)).split(BATCH):
        batch = data.batch(indices)
        pixels = data.pixels(batch)
        if pixels is None:
            raise InputError("A cache of latents has no pixels: give reference= a folder of images or an npz.")
        labels = batch["label"] if data.classes and data.classes == extractor.classes else None
        sums.add(extractor(pixels), keep[indices], labels)
    return Reference.of(sums, {"split": name, "images": len(data)}, extractor)


def of_images(wanted: Images, extractor: Extractor) -> Reference:
    """The statistics of raw images, in this process."""
    raw, sums = measure(wanted, extractor)
    return Reference.of(sums, wanted.described(raw, len(sums.bad)), extractor)


def reference_from(config: dict[str, Any]) -> None:
    """Writes the statistics that a resolved config of image_reference asks for, and prints where they are."""
    out = Path(config["out"])
    if out.suffix != ".npz":
        raise InputError(f"out={out}: expected a file that ends in .npz.")
    wanted = Images(**{key: config[key] for key in ("images", "size", "channels", "max_bad", "follow_links")})
    extractor: Extractor = build("extractor", config["extractor"])
    unfinished = out.with_suffix(".unfinished.npz")
    how = {key: config[key] for key in ("processes", "device")}
    raw, sums = measure(wanted, extractor, config["extractor"], unfinished=unfinished, **how)
    reference = Reference.of(sums, wanted.described(raw, len(sums.bad)), extractor)
    reference.save(out, pictures(raw, sums, wanted) if config["keep_images"] else None)
    unfinished.unlink(missing_ok=True)
    unread = f", {len(sums.bad)} could not be read" if sums.bad else ""
    print(f"{reference.gaussian.n} images{unread}, extractor {reference.extractor['name']}. Written: {out}")
