"""Rollouts as pictures: frames with a caption, as MP4, GIF and a contact sheet."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support import files
from isd_core.support.errors import InputError

CAPTION_HEIGHT = 18
"""Pixels of the strip that a caption takes below the picture."""


def captioned(frame: np.ndarray, text: str) -> np.ndarray:
    """A frame [H, W, 3] uint8 with a line of text below it, [H + 18, W, 3]."""
    Image, ImageDraw = _pillow()
    height, width = frame.shape[:2]
    canvas = Image.new("RGB", (width, height + CAPTION_HEIGHT), "black")
    canvas.paste(Image.fromarray(frame), (0, 0))
    ImageDraw.Draw(canvas).text((4, height + 3), text, fill="white")
    return np.asarray(canvas)


def write_gif(path: Path, frames: Sequence[np.ndarray], rate: float) -> None:
    """An endless animation at `rate` frames per second."""
    Image, _ = _pillow()
    first, *rest = [Image.fromarray(frame) for frame in frames]
    with files.atomic_write(path) as temporary:
        first.save(temporary, save_all=True, append_images=rest, duration=round(1000 / rate), loop=0, format="GIF")


def write_mp4(path: Path, frames: Sequence[np.ndarray], rate: float) -> None:
    """H.264; widths and heights are padded to even numbers."""
    if importlib.util.find_spec("imageio") is None or importlib.util.find_spec("imageio_ffmpeg") is None:
        raise InputError(
            "Writing MP4 needs the packages imageio and imageio-ffmpeg: pip install imageio imageio-ffmpeg."
        )
    import imageio

    with files.atomic_write(path) as temporary:
        even: list[Any] = [
            np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0))) for frame in frames
        ]
        imageio.mimwrite(temporary, even, format="FFMPEG", fps=rate, codec="libx264", macro_block_size=2)


def contact_sheet(path: Path, rows: Sequence[Sequence[np.ndarray]]) -> None:
    """A PNG with one row of frames for each episode; shorter rows end in black."""
    Image, _ = _pillow()
    longest = max(map(len, rows))
    blank = np.zeros_like(rows[0][0])
    sheet = np.vstack([np.hstack([*row, *[blank] * (longest - len(row))]) for row in rows])
    with files.atomic_write(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def spread(frames: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """`count` frames from first to last at equal distances (all where there are fewer)."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))
    return [frames[index] for index in chosen]


def _pillow():  # type: ignore[no-untyped-def]
    if importlib.util.find_spec("PIL") is None:
        raise InputError("Pictures need the package Pillow: pip install pillow.")
    from PIL import Image, ImageDraw

    return Image, ImageDraw
