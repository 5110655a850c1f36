"""`python -m isd_envs.pictures data=FILE out=FILE cameras=[...]`: pictures for a robomimic file, from its states."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py
from omegaconf import DictConfig

from isd_core.support.cli import command
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_core.support.overrides import command_line
from isd_core.support.progress import Progress
from isd_envs.demonstrations import hdf5
from isd_envs.demonstrations.recordings import load_recording, start_of
from isd_envs.engines.factory import make_engine
from isd_envs.rollouts.jobs import in_turn, run_jobs
from isd_envs.spec import CAMERA_SUFFIX


def add_pictures(path: Path, out: Path, cameras: Sequence[str], size: int, workers: int) -> int:
    """Copies a file and adds `obs/<camera>_image` [T, size, size, 3], bytes, to every demonstration.

    Drawn from the recorded states in `workers` processes. Returns the number of pictures. Raises `InputError` for an
    unknown camera, without a renderer, and when `out` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists already; remove it, or choose another out=.")
    if not cameras or size < 1:
        raise InputError(f"cameras={list(cameras)}, size={size}: expected at least one camera and a size above 0.")
    hdf5.check_own(path)
    recording = load_recording(path)
    shapes = {f"{camera}{CAMERA_SUFFIX}": (size, size, 3) for camera in cameras}
    spec = recording.spec.with_pictures(shapes)
    engine = make_engine(recording.spec)
    jobs = [
        (start_of(recording, episode, engine), episode.states[: len(episode.actions)]) for episode in recording.episodes
    ]
    steps = sum(len(episode.actions) for episode in recording.episodes)
    with atomic_write(out) as temporary, Progress(steps, "pictures", "step") as progress:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            for number, drawn in run_jobs(spec, "draw", in_turn(jobs), workers):
                obs = file[f"data/{recording.episodes[number].name}"].require_group("obs")
                for key, values in drawn.items():
                    if key in obs:
                        del obs[key]
                    obs.create_dataset(key, data=values, chunks=(1, *values.shape[1:]), compression="gzip")
                progress.update(len(jobs[number][1]))
    return steps * len(cameras)


@command("env_pictures")
def main(cfg: DictConfig) -> None:
    """Adds pictures of cameras to a robomimic file, drawn from its states."""
    count = add_pictures(Path(str(cfg.data)), Path(str(cfg.out)), list(cfg.cameras), cfg.size, cfg.workers)
    print(
        f"{count} pictures of {cfg.size} x {cfg.size}. Written: {cfg.out}. Next: "
        + command_line("isd_policy.train", task="lift_image", data=cfg.out)
    )


if __name__ == "__main__":
    main()
