"""Encoded images to pixels, by one rule for every command: cache, folder, reference and samples."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from isd_core.support.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
READING = "EXIF orientation applied, transparency over white, 16-bit grey scaled to 8"
"""What happens to pixels on the way; recorded with caches and references."""
SHOWN = 5


class BadImageError(ValueError):
    """One file that cannot be read to its end as an image; it counts against `max_bad`."""


def decode(data: bytes) -> Image.Image:
    """An encoded image, whole, as grey levels (mode L) or colours (mode RGB), by the rule of `READING`.

    The content decides, and only these `FORMATS` are tried: Pillow would hand others to programs of their own, as it
    does EPS to Ghostscript. Raises `BadImageError`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            return _flat(_upright(image))
    except Image.UnidentifiedImageError as error:
        raise BadImageError(f"it is no image of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:  # decoders raise what they like on damaged data: struct.error, IndexError, SyntaxError
        raise BadImageError(" ".join(str(error).split()) or type(error).__name__) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are whole; a damaged EXIF block says nothing about them
        return image


def _flat(image: Image.Image) -> Image.Image:
    """Grey levels or colours without transparency, of 8 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_16_bits(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over)
    return image.convert("L" if grey else "RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    levels = np.asarray(image).astype(np.int64)
    scaled = ((levels * 255 + 32767) // 65535).clip(0, 255).astype(np.uint8)
    if isinstance(hidden := image.info.get("transparency"), int):
        scaled[levels == hidden] = 255
    return Image.fromarray(scaled)


def check_share(max_bad: float) -> None:
    """`InputError` unless `max_bad` is a share below 1."""
    if not 0 <= max_bad < 1:
        raise InputError(f"max_bad={max_bad} is a share of the images, at least 0 and below 1.")


def check_bad(bad: Sequence[str], count: int, max_bad: float) -> None:
    """`InputError` when more than the share `max_bad` of `count` files could not be read; `bad` says which and why."""
    check_share(max_bad)
    if len(bad) > max_bad * count:
        shown = "; ".join(f"bad file {name}" for name in bad[:SHOWN])
        raise InputError(
            f"{len(bad)} of {count} images cannot be read, more than max_bad={max_bad} allows: {shown}"
            f"{' ...' if len(bad) > SHOWN else ''}. Repair or remove them, or raise max_bad."
        )
