"""Pictures of one rollout: an animation and a strip of frames, or a sentence that says why there are none.

    python -m scripts.demo.film runs/demo/policy runs/demo --seed 0

The episode starts from the first start of an evaluation with this seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import isd_policy
from envs.gym_env import SimulatedTask
from envs.spec import EnvSpec
from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_core.training import checkpoint
from scripts.demo.results import FILM, NO_FILM, STRIP
from scripts.setup import preflight

SIZE = 256  # pixels of a frame's edge
EVERY = 2  # control steps between two pictures
AFTER_SUCCESS = 10  # control steps that are shown after the success
LONGEST = 160  # control steps that are shown of an episode without success
FRAMES_OF_STRIP = 6


class NoPicturesError(Exception):
    """This machine cannot render; the message says what it lacks."""


def roll(run: Path, seed: int) -> tuple[list[np.ndarray], bool]:
    """Frames [SIZE, SIZE, 3] uint8 of every `EVERY`th control step of a rollout at 1 NFE, and whether it succeeded.

    Raises `NoPicturesError` when this machine cannot render, `InputError` when `run` holds no policy.
    """
    if finding := preflight.check_rendering():
        raise NoPicturesError(preflight.describe([finding]))
    spec = EnvSpec.from_env_args(checkpoint.load(run).config["schema"]["env_args"])
    policy = isd_policy.load(run)
    env = SimulatedTask(**spec.to_dict(), render_mode="rgb_array", width=SIZE, height=SIZE)
    try:
        obs, _ = env.reset(seed=seeds.derive(seed, "evaluation", 0))
        policy.reset(seed)
        try:
            frames = [_frame(env)]
        except InputError as error:
            raise NoPicturesError(str(error)) from error
        chunk: list[np.ndarray] = []
        succeeded, step, end = False, 0, min(LONGEST, spec.definition.max_steps)
        while step < end:
            if chunk:
                policy.observe(obs)
            else:
                chunk = list(policy.act(obs, nfe=1))
            obs, _, _, _, info = env.step(chunk.pop(0))
            step += 1
            if step % EVERY == 0:
                frames.append(_frame(env))
            if info["success"] and not succeeded:
                succeeded, end = True, min(end, step + AFTER_SUCCESS)
        return frames, succeeded
    finally:
        env.close()


def _frame(env: SimulatedTask) -> np.ndarray:
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    return picture


def animation(frames: Sequence[np.ndarray], path: Path, rate: float = 20.0) -> None:
    """Writes a GIF of the frames at the speed of the robot, which holds the last one."""
    shown = [Image.fromarray(frame) for frame in frames]
    palette = shown[len(shown) // 2].quantize(96)
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in shown]
    step = round(1000 * EVERY / rate)
    with atomic_write(path) as temporary:
        durations = [step] * (len(indexed) - 1) + [1200]
        indexed[0].save(temporary, "GIF", save_all=True, append_images=indexed[1:], duration=durations, loop=0)


def strip(frames: Sequence[np.ndarray], path: Path) -> None:
    """Writes a PNG of frames at equal distances, in two rows, each with the number of its control step."""
    chosen = np.linspace(0, len(frames) - 1, FRAMES_OF_STRIP).round().astype(int)
    columns, gap = FRAMES_OF_STRIP // 2, 6
    font = ImageFont.load_default(size=17)
    sheet = Image.new("RGBA", (columns * (SIZE + gap) - gap, 2 * (SIZE + gap) - gap))
    for position, index in enumerate(chosen):
        picture = Image.fromarray(frames[index]).convert("RGBA")
        corner = (10, SIZE - 30)
        ImageDraw.Draw(picture).text(
            corner, f"step {EVERY * index}", "white", font, stroke_width=2, stroke_fill="black"
        )
        row, column = divmod(position, columns)
        sheet.paste(picture, (column * (SIZE + gap), row * (SIZE + gap)))
    with atomic_write(path) as temporary:
        sheet.quantize(192).save(temporary, "PNG")


def main() -> int:
    """Writes the pictures into the folder."""
    parser = argparse.ArgumentParser(prog="scripts.demo.film", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a policy's run folder")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--seed", type=int, default=0, help="of the start and of the sampler's noise")
    given = parser.parse_args()
    (given.folder / NO_FILM).unlink(missing_ok=True)
    try:
        frames, succeeded = roll(given.run, given.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NoPicturesError as error:
        with atomic_write(given.folder / NO_FILM) as temporary:
            temporary.write_text(" ".join(str(error).split()))
        print(f"No pictures: {error}")
        return 0
    strip(frames, given.folder / STRIP)
    animation(frames, given.folder / FILM)
    print(f"{len(frames)} frames, {'a success' if succeeded else 'no success'}. Written: {given.folder / FILM}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
