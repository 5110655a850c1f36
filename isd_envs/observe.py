"""`python -m isd_envs.observe data=demo.hdf5 out=low_dim.hdf5`: observations for a recording of states alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from isd_envs.demonstrations.recordings import RecordedEpisode, Recording, load_recording, start_of
from isd_envs.engines.factory import make_engine, resolve
from isd_envs.replay import repeat_all
from isd_envs.rollouts.jobs import in_turn, run_jobs
from isd_envs.rollouts.results import StoredEpisode
from isd_envs.spec import CAMERA_SUFFIX, EnvSpec

ROBOSUITE = 1
"""robomimic's `type` for environments of robosuite."""


@dataclass(frozen=True)
class Observed:
    """steps: observed; successes: whether each demonstration succeeds when it is replayed, by name."""

    steps: int
    successes: Mapping[str, bool]


def observe(
    path: Path, out: Path, cameras: Sequence[str] = (), size: int = 84, workers: int = 1, external: bool = False
) -> Observed:
    """Writes a file in robomimic's layout: the demonstrations of a robosuite or robomimic file, with what the simulator
    that is installed observes in their states, and pictures [T, size, size, 3] of `cameras`.

    `obs/*` are those of the environment's numbers under robomimic's names; there are no `next_obs`, because of an
    episode's last step no state is recorded. `rewards` are 1 in the last step of a demonstration that succeeds when it
    is replayed, and `dones` are 1 in every last step. In `workers` threads or processes. external: whether the file may
    take data from other files.

    Raises `InputError` for an environment that is not simulated here, states of another model, an unknown camera, and
    when `out` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists already; remove it, or choose another out=.")
    if size < 1:
        raise InputError(f"size={size}: expected the side of a picture in pixels, at least 1.")
    recording = load_recording(path, external=external)
    if not isinstance(recording.spec, EnvSpec):
        raise InputError(
            f"{path} is of {recording.spec.definition.title}; states of robosuite's tasks are observed here."
        )
    spec = resolve(recording.spec.with_pictures({f"{camera}{CAMERA_SUFFIX}": (size, size, 3) for camera in cameras}))
    engine = make_engine(recording.spec)
    starts = [start_of(recording, episode, engine) for episode in recording.episodes]
    jobs = [
        (start, episode.states[: len(episode.actions)])
        for start, episode in zip(starts, recording.episodes, strict=True)
    ]
    steps = sum(len(states) for _, states in jobs)
    successes = _replayed(recording, starts, workers)
    with hdf5.opened(path, external) as source, atomic_write(out) as temporary:
        env_args = {"type": ROBOSUITE, **source.env_args}
        with h5py.File(temporary, "w") as file, Progress(steps, "observe", "step") as progress:
            data = file.create_group("data")
            data.attrs["total"] = steps
            data.attrs["env_args"] = json.dumps(env_args, indent=4)
            for number, observed in run_jobs(spec, "observe", in_turn(jobs), workers):
                episode = recording.episodes[number]
                _write(data.create_group(episode.name), episode, observed, successes[episode.name])
                progress.update(len(episode.actions))
            for key in source.filter_keys:
                file[f"mask/{key}"] = np.array([name.encode() for name in source.mask(key)])
    return Observed(steps, successes)


def _replayed(recording: Recording, starts: Sequence[Mapping[str, Any]], workers: int) -> dict[str, bool]:
    episodes = [
        StoredEpisode(number, episode.name, episode.name, dict(start), True, episode.actions)
        for number, (episode, start) in enumerate(zip(recording.episodes, starts, strict=True))
    ]
    results = repeat_all(recording.spec, episodes, workers)
    return {episode.name: result.success for episode, result in zip(recording.episodes, results, strict=True)}


def _write(group: h5py.Group, episode: RecordedEpisode, observed: Mapping[str, np.ndarray], success: bool) -> None:
    steps = len(episode.actions)
    last = np.arange(steps) == steps - 1
    group.attrs["num_samples"] = steps
    group.attrs["model_file"] = episode.xml
    group["states"], group["actions"] = episode.states[:steps], episode.actions
    group["rewards"], group["dones"] = (last & success).astype(np.float64), last.astype(np.int64)
    for key, values in observed.items():
        if values.dtype == np.uint8:
            chunk = (1, *values.shape[1:])
            group.create_dataset(f"obs/{key}", data=values, chunks=chunk, compression="gzip")
        else:
            group[f"obs/{key}"] = values


@command("env_observe")
def main(cfg: DictConfig) -> None:
    """Observations for a recording of states, as robosuite and robomimic leave it; replays the demonstrations too."""
    out = Path(str(cfg.out))
    found = observe(Path(str(cfg.data)), out, list(cfg.cameras), cfg.size, cfg.workers, cfg.external)
    failed = [name for name, success in found.successes.items() if not success]
    print(
        f"{len(found.successes)} demonstrations, {found.steps} steps observed; replayed here, "
        f"{len(found.successes) - len(failed)} of {len(found.successes)} succeed"
        + (f" (not: {', '.join(failed[:8])}{' ...' if len(failed) > 8 else ''})" if failed else "")
        + f". Written: {out}. Next: {command_line('isd_policy.data.inspect', data=out)}"
    )


if __name__ == "__main__":
    main()
