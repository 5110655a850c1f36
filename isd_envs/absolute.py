"""`python -m isd_envs.absolute data=FILE out=FILE`: absolute actions for a robomimic file, both kinds replayed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from omegaconf import DictConfig

from isd_core.support.cli import command
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_core.support.overrides import command_line
from isd_core.support.progress import Progress
from isd_envs.demonstrations import hdf5
from isd_envs.demonstrations.recordings import load_recording, start_of
from isd_envs.engines.factory import make_engine, resolve
from isd_envs.replay import repeat_all
from isd_envs.rollouts.jobs import in_turn, run_jobs
from isd_envs.rollouts.results import StoredEpisode
from isd_envs.spec import EnvSpec

KEY = "actions_abs"


def convert(path: Path, out: Path, workers: int, engine: str = "compiled", mode: str = "exact") -> dict[str, int]:
    """Copies a file and adds `actions_abs` [T, 7 arms] to every demonstration: position (m) and rotation vector of the
    pose that the action asks for in the frame of the file's actions, and the gripper.

    Returns how many demonstrations succeed when they are replayed by the recorded actions, by the new ones, and how
    many there are. Raises `InputError` for a file whose actions are absolute already, and when `out` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists already; remove it, or choose another out=.")
    hdf5.check_own(path)
    recording = load_recording(path, engine=engine, mode=mode)
    spec = resolve(recording.spec)
    if not isinstance(spec, EnvSpec) or spec.action_mode != "delta":
        raise InputError(f"The actions of {path} are absolute already; there is nothing to convert.")
    poses: dict[int, np.ndarray] = {}
    jobs = [(episode.states[: len(episode.actions)], episode.actions) for episode in recording.episodes]
    with Progress(len(jobs), "poses", "episode") as progress:
        for number, found in run_jobs(spec, "absolute_poses", in_turn(jobs), workers):
            poses[number] = found
            progress.update(1)
    with atomic_write(out) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            for number, episode in enumerate(recording.episodes):
                demo = file[f"data/{episode.name}"]
                if KEY in demo:
                    del demo[KEY]
                demo.create_dataset(KEY, data=poses[number])
    model = make_engine(spec)
    starts = [start_of(recording, episode, model) for episode in recording.episodes]

    def successes(kind: Any, actions: list[np.ndarray]) -> int:
        episodes = [
            StoredEpisode(number, episode.name, episode.name, start, True, actions[number])
            for number, (episode, start) in enumerate(zip(recording.episodes, starts, strict=True))
        ]
        return sum(result.success for result in repeat_all(kind, episodes, workers))

    return {
        "recorded": successes(spec, [episode.actions for episode in recording.episodes]),
        "absolute": successes(spec.with_action_mode("absolute"), [poses[number] for number in range(len(jobs))]),
        "demonstrations": len(jobs),
    }


@command("env_absolute")
def main(cfg: DictConfig) -> None:
    """Adds absolute actions to a robomimic file of displacements; replays both kinds and says how many succeed."""
    found = convert(Path(str(cfg.data)), Path(str(cfg.out)), cfg.workers, cfg.env.engine, cfg.env.mode)
    print(
        f"Replayed here, {found['recorded']} of {found['demonstrations']} demonstrations succeed by their recorded "
        f"actions and {found['absolute']} by the absolute ones. Written: {cfg.out}. Next: "
        + command_line("isd_policy.train", data=cfg.out, actions="absolute")
    )


if __name__ == "__main__":
    main()
