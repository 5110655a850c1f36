"""Pictures of one rollout: an animation and a strip of frames, or a sentence that says why there are none.

    python -m scripts.demo.film runs/demo/policy runs/demo --seed 0

The episode starts from the first start of an evaluation with this seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import isd_policy
from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_core.training import checkpoint
from isd_envs.engines.engine import Observation
from isd_envs.gym_env import SimulatedTask
from isd_envs.rollouts import film
from isd_policy.environment import environment_of
from scripts.demo.results import FILM, NO_FILM, STRIP
from scripts.setup import preflight

SIZE = 256  # pixels of a frame's edge
EVERY = 2  # control steps between two pictures
AFTER_SUCCESS = 10  # control steps that are shown after the success
LONGEST = 160  # control steps that are shown of an episode without success
STRIP_ROWS, STRIP_COLUMNS, STRIP_GAP = 2, 3, 6
HOLD = 1.1  # seconds that the animation stays at its end


class NoPicturesError(Exception):
    """This machine cannot render; the message says what it lacks."""


def roll(run: Path, seed: int) -> tuple[list[np.ndarray], bool, float]:
    """Frames of a rollout at 1 NFE, whether it succeeded, and the control steps per second.

    Raises `NoPicturesError` when this machine cannot render, `InputError` when `run` holds no policy.
    """
    if finding := preflight.check_rendering():
        raise NoPicturesError(preflight.describe([finding]))
    spec = environment_of(checkpoint.load(run).config)
    policy = isd_policy.load(run)
    policy.reset(seed)
    chunk: list[np.ndarray] = []

    def act(observation: Observation) -> np.ndarray:
        if chunk:
            policy.observe(observation)
        else:
            chunk.extend(policy.act(observation, nfe=1))
        return chunk.pop(0)

    env = SimulatedTask(**spec.to_dict(), render_mode="rgb_array", width=SIZE, height=SIZE)
    steps = min(LONGEST, spec.definition.max_steps)
    start = seeds.derive(seed, "evaluation", 0)
    try:
        frames, succeeded = film.roll(env, act, start, every=EVERY, steps=steps, after=AFTER_SUCCESS)
        return frames, succeeded, spec.control_freq
    except InputError as error:  # the renderer's: everything else was built before
        raise NoPicturesError(str(error)) from error
    finally:
        env.close()


def strip(frames: list[np.ndarray], path: Path) -> None:
    """Writes a PNG of frames at equal distances, each with the number of its control step."""
    numbered = [film.labelled(frame, f"step {EVERY * index}") for index, frame in enumerate(frames)]
    chosen = film.spread(numbered, STRIP_ROWS * STRIP_COLUMNS)
    rows = [chosen[first : first + STRIP_COLUMNS] for first in range(0, len(chosen), STRIP_COLUMNS)]
    film.contact_sheet(path, rows, STRIP_GAP)


def main() -> int:
    """Writes the pictures into the folder."""
    parser = argparse.ArgumentParser(prog="scripts.demo.film", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a policy's run folder")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--seed", type=int, default=0, help="of the start and of the sampler's noise")
    given = parser.parse_args()
    (given.folder / NO_FILM).unlink(missing_ok=True)
    try:
        frames, succeeded, rate = roll(given.run, given.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NoPicturesError as error:
        with atomic_write(given.folder / NO_FILM) as temporary:
            temporary.write_text(" ".join(str(error).split()))
        print(f"No pictures: {error}")
        return 0
    strip(frames, given.folder / STRIP)
    film.write_gif(given.folder / FILM, frames, rate / EVERY, HOLD)
    print(f"{len(frames)} frames, {'a success' if succeeded else 'no success'}. Written: {given.folder / FILM}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
