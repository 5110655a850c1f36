"""Rollouts as pictures: frames with a caption or a label, as MP4, GIF and a contact sheet."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_envs.engines.engine import Observation
from isd_envs.gym_env import SimulatedTask

CAPTION_HEIGHT = 18
"""Pixels of the strip that a caption takes below the picture."""


COLOURS = {"GIF": 96, "PNG": 192}
"""Of a palette: robosuite's scenes have few, and the files become several times as small."""


def roll(
    env: SimulatedTask, act: Callable[[Observation], np.ndarray], seed: int, *, every: int, steps: int, after: int
) -> tuple[list[np.ndarray], bool]:
    """Frames [H, W, 3] uint8 of a rollout, the first one and every `every`th, and whether it succeeded.

    act: an observation -> the action [Da] of one control step. seed: of the start. The rollout ends after `steps`
    control steps, or `after` steps after its success. Raises `InputError` on a machine that cannot render.
    """
    observation, _ = env.reset(seed=seed)
    frames, succeeded, step = [_frame(env)], False, 0
    while step < steps:
        observation, _, _, _, info = env.step(act(observation))
        step += 1
        if step % every == 0:
            frames.append(_frame(env))
        if info["success"] and not succeeded:
            succeeded, steps = True, min(steps, step + after)
    return frames, succeeded


def _frame(env: SimulatedTask) -> np.ndarray:
    frame = env.render()
    assert frame is not None  # the environment was made with render_mode="rgb_array"
    return frame


def captioned(frame: np.ndarray, text: str) -> np.ndarray:
    """A frame [H, W, 3] uint8 with a line of text below it, [H + 18, W, 3]."""
    Image, ImageDraw = _pillow()
    height, width = frame.shape[:2]
    canvas = Image.new("RGB", (width, height + CAPTION_HEIGHT), "black")
    canvas.paste(Image.fromarray(frame), (0, 0))
    ImageDraw.Draw(canvas).text((4, height + 3), text, fill="white")
    return np.asarray(canvas)


def labelled(frame: np.ndarray, text: str) -> np.ndarray:
    """A frame [H, W, 3] uint8 with a text in its lower left corner."""
    Image, ImageDraw = _pillow()
    from PIL import ImageFont

    picture = Image.fromarray(frame)
    font = ImageFont.load_default(size=17)
    corner = (10, picture.height - 30)
    ImageDraw.Draw(picture).text(corner, text, "white", font, stroke_width=2, stroke_fill="black")
    return np.asarray(picture)


def write_gif(path: Path, frames: Sequence[np.ndarray], rate: float, hold: float = 0.0) -> None:
    """An endless animation at `rate` frames per second; the last frame stays `hold` seconds longer."""
    Image, _ = _pillow()
    shown = [Image.fromarray(frame) for frame in frames]
    sample = Image.fromarray(np.hstack(spread(frames, 4)))
    palette = sample.quantize(COLOURS["GIF"])  # one for all frames, so that still parts do not flicker
    first, *rest = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in shown]
    step = round(1000 / rate)
    durations = [step] * len(rest) + [step + round(1000 * hold)]
    with files.atomic_write(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)


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


def contact_sheet(path: Path, rows: Sequence[Sequence[np.ndarray]], gap: int = 0) -> None:
    """A PNG with rows of frames of one size, `gap` transparent pixels apart; shorter rows end empty."""
    Image, _ = _pillow()
    height, width = rows[0][0].shape[:2]
    longest = max(map(len, rows))
    sheet = Image.new("RGBA", (longest * (width + gap) - gap, len(rows) * (height + gap) - gap))
    for row, frames in enumerate(rows):
        for column, frame in enumerate(frames):
            sheet.paste(Image.fromarray(frame).convert("RGBA"), (column * (width + gap), row * (height + gap)))
    with files.atomic_write(path) as temporary:
        sheet.quantize(COLOURS["PNG"]).save(temporary, "PNG")


def spread(frames: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """`count` frames from first to last at equal distances (all where there are fewer)."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))
    return [frames[index] for index in chosen]


def _pillow():  # type: ignore[no-untyped-def]
    if importlib.util.find_spec("PIL") is None:
        raise InputError("Pictures need the package Pillow: pip install pillow.")
    from PIL import Image, ImageDraw

    return Image, ImageDraw
