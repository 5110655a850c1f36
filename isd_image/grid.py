"""Pictures of samples: a labelled grid in one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_image.generate import SamplePlan

GAP = 2
MARGIN = 4
BACKGROUND = 24
INK = 235


def draw(panels: Sequence[tuple[str, np.ndarray]], columns: int, scale: int) -> Image.Image:
    """One panel below the other, each a title over rows of `columns` images, enlarged `scale` times without smoothing.

    Each panel is (title, [N, H, W, C] bytes) with one channel or three.
    """
    font = ImageFont.load_default(size=14)
    line = 20
    height, width = (side * scale for side in panels[0][1].shape[1:3])
    rows = [-(-len(images) // columns) for _, images in panels]
    total_width = 2 * MARGIN + columns * (width + GAP)
    total_height = sum(line + count * (height + GAP) + MARGIN for count in rows) + MARGIN
    canvas = Image.new("RGB", (total_width, total_height), (BACKGROUND,) * 3)
    pen = ImageDraw.Draw(canvas)
    top = MARGIN
    for (title, images), count in zip(panels, rows, strict=True):
        pen.text((MARGIN, top), title, fill=(INK,) * 3, font=font)
        top += line
        for i, image in enumerate(images):
            row, column = divmod(i, columns)
            tile = Image.fromarray(image.repeat(4 - image.shape[2], 2)[:, :, :3]).resize(
                (width, height), Image.Resampling.NEAREST
            )
            canvas.paste(tile, (MARGIN + column * (width + GAP), top + row * (height + GAP)))
        top += count * (height + GAP) + MARGIN
    return canvas


def write_panels(
    plan: SamplePlan, out: Path, columns: int, scale: int, processes: int, device: str, quiet: bool = False
) -> None:
    """The samples of a plan as one PNG with a panel for each number of evaluations; whole or absent."""
    if columns < 1 or scale < 1:
        raise InputError(f"columns={columns} and scale={scale} of a grid must be at least 1.")
    panels: dict[int, list[np.ndarray]] = {}
    for nfe, _, images in plan.draw(processes, device, quiet):
        panels.setdefault(nfe, []).append(images)
    titled = [(f"{nfe} NFE", np.concatenate(parts)) for nfe, parts in panels.items()]
    with atomic_write(out) as temporary:
        draw(titled, columns, scale).save(temporary, format="PNG")
