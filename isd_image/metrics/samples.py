"""Samples on disk: an npz in ADM's layout, or a folder of PNGs, as `python -m isd_image.sample` writes them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from isd_core.support import files
from isd_core.support.errors import InputError

GREY = ("1", "L", "I;16")


class Samples(NamedTuple):
    """images: bytes [N, C, H, W], grey or coloured; labels: [N] or None; about: what they are, for the report."""

    images: Tensor
    labels: Tensor | None
    about: dict[str, Any]


def read_samples(path: Path) -> Samples:
    """The samples at `path`. Raises `InputError` where there are none, or one that is damaged or of another size."""
    return _npz(path) if path.suffix == ".npz" else _folder(path)


def _npz(path: Path) -> Samples:
    try:
        with np.load(path, allow_pickle=False) as file:
            array = file["arr_0"]
            labels = file["arr_1"] if "arr_1" in file.files else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"samples={path} is no npz of samples (arr_0: [N, H, W, C] bytes): {error}.") from error
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3) or len(array) == 0:
        raise InputError(
            f"samples={path}: arr_0 is {array.dtype} of shape {list(array.shape)}, expected bytes [N, H, W, 1 or 3]."
        )
    if labels is not None and labels.shape != (len(array),):
        raise InputError(f"samples={path}: {len(array)} images, but labels (arr_1) of shape {list(labels.shape)}.")
    images = torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()
    about = {"file": path.name, "count": len(images), "sha256": files.sha256(path)}
    return Samples(images, None if labels is None else torch.from_numpy(labels), about)


def _folder(path: Path) -> Samples:
    paths = sorted(path.glob("*.png"))
    if not paths:
        raise InputError(f"samples={path} holds no PNGs, and is no .npz: give what isd_image.sample wrote.")
    images = [_bytes(p) for p in paths]
    for place, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise InputError(
                f"samples={path}: {place.name} has the shape {list(image.shape)} (channels, height, width), "
                f"{paths[0].name} has {list(images[0].shape)}; expected one shape."
            )
    return Samples(torch.stack(images), None, {"folder": path.name, "count": len(paths)})


def _bytes(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            array = np.array(image.convert("L" if image.mode in GREY else "RGB"))
    except OSError as error:
        raise InputError(f"The sample {path} cannot be read: {error}. Remove it or draw the samples again.") from error
    return torch.from_numpy(array)[None] if array.ndim == 2 else torch.from_numpy(array).permute(2, 0, 1).contiguous()
