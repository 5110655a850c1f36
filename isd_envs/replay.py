"""Recorded episodes again, without the policy: of an evaluation (`results=FILE`), or demonstrations (`data=FILE`).

Replaying the demonstrations of a file tells before any training whether they mean here what they meant where they were
recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, ListConfig

from isd_core.support.cli import command
from isd_core.support.errors import InputError
from isd_core.support.progress import Progress
from isd_envs.demonstrations.comparison import CannotCompareError, differences
from isd_envs.demonstrations.recordings import load_recording, start_of
from isd_envs.engines.engine import Engine, RobotEngine
from isd_envs.engines.factory import make_engine, resolve
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.engines.simulator import check_versions
from isd_envs.engines.slot import Repeated
from isd_envs.rollouts import film
from isd_envs.rollouts.jobs import in_turn, run_jobs
from isd_envs.rollouts.results import StoredEpisode, load_results
from isd_envs.rollouts.statistics import mean_and_error, wilson
from isd_envs.spec import EnvSpec, Spec

FRAMES_OF_SHEET = 8


def frames_of(engine: Engine, episode: StoredEpisode, size: int, camera: str, every: int) -> list[np.ndarray]:
    """Captioned pictures of an episode executed again, one every so many steps; size: edge in pixels."""
    engine.reset_to(episode.start)
    frames, success = [engine.frame(size, size, camera)], False
    for first in range(0, len(episode.actions), every):
        chunk = engine.run(episode.actions[first : first + every])
        frames.append(engine.frame(size, size, camera))
        success = bool(chunk.success.any())
        if success or chunk.fault is not None:
            break
    caption = f"{episode.caption}, {'success' if success else 'failure'}"
    return [film.captioned(frame, caption) for frame in frames]


def film_episodes(
    engine: Engine, episodes: Sequence[StoredEpisode], out: Path, *, size: int, camera: str, every: int, rate: float
) -> list[Path]:
    """Writes MP4 and GIF of each episode and a contact sheet of all; returns the paths."""
    out.mkdir(parents=True, exist_ok=True)
    written, rows = [], []
    for episode in episodes:
        frames = frames_of(engine, episode, size, camera, every)
        film.write_mp4(out / f"{episode.stem}.mp4", frames, rate)
        film.write_gif(out / f"{episode.stem}.gif", frames, rate)
        written += [out / f"{episode.stem}.mp4", out / f"{episode.stem}.gif"]
        rows.append(film.spread(frames, FRAMES_OF_SHEET))
    film.contact_sheet(out / "contact_sheet.png", rows)
    return [*written, out / "contact_sheet.png"]


def film_results(results: Path, first: int, size: int = 256, camera: str = "agentview", every: int = 2) -> Path:
    """Films the first episodes of each run of a result file into the folder `<results>_video`, which it returns."""
    of_results = load_results(results)
    engine = make_engine(of_results.spec)
    out = results.with_name(results.stem + "_video")
    rate = of_results.spec.control_freq / every
    for label, episodes in of_results.episodes.items():
        film_episodes(engine, episodes[:first], out / f"nfe{label}", size=size, camera=camera, every=every, rate=rate)
    return out


@command("env_replay")
def main(cfg: DictConfig) -> None:
    """Repeats recorded episodes, tells how they end, and draws them where `out` is given."""
    if (cfg.results is None) == (cfg.data is None):
        raise InputError("Give either results=FILE.json of an evaluation or data=FILE of demonstrations.")
    spec, episodes, engine = _of_results(cfg) if cfg.data is None else _of_data(cfg)
    if cfg.out is not None:
        options: dict[str, Any] = {"size": cfg.size, "camera": cfg.camera, "every": cfg.every}
        written = film_episodes(engine, episodes, Path(str(cfg.out)), rate=spec.control_freq / cfg.every, **options)
        print(f"Written: {len(written)} files in {cfg.out}, among them contact_sheet.png.")


def _of_results(cfg: DictConfig) -> tuple[Spec, list[StoredEpisode], Engine]:
    """Checks the verdicts of an evaluation."""
    found = load_results(Path(str(cfg.results)))
    label = str(cfg.nfe) if cfg.nfe is not None else next(iter(found.episodes))
    if label not in found.episodes:
        raise InputError(f"{cfg.results} has no results for nfe={label}; it has {', '.join(found.episodes)}.")
    chosen, engine = _chosen(found.episodes[label], cfg.episodes), make_engine(found.spec)
    results = repeat_all(found.spec, chosen, cfg.workers)
    different = [e.index for e, result in zip(chosen, results, strict=True) if result.success != e.success]
    print(
        f"{found.spec.definition.title}, {label} NFE, {engine.name} engine: {len(chosen) - len(different)} of "
        f"{len(chosen)} episodes end as recorded" + (f"; others: {different}." if different else ".")
    )
    return found.spec, chosen, engine


def _of_data(cfg: DictConfig) -> tuple[Spec, list[StoredEpisode], Engine]:
    """Counts the demonstrations that succeed in this simulator."""
    recording = load_recording(Path(str(cfg.data)), cfg.action_key, cfg.env.engine, cfg.env.mode, cfg.external)
    spec = resolve(recording.spec)
    engine = make_engine(spec)
    demos = [
        StoredEpisode(i, demo.name, demo.name, start_of(recording, demo, engine), True, demo.actions)
        for i, demo in enumerate(recording.episodes)
    ]
    chosen = _chosen(demos, cfg.episodes)
    results = repeat_all(spec, chosen, cfg.workers)
    failed = [episode.stem for episode, result in zip(chosen, results, strict=True) if not result.success]
    n = len(chosen)
    low, high = wilson(n - len(failed), n)
    mean, error = mean_and_error([result.score for result in results])
    graded = f"mean best score {mean:.4f} +- {error:.4f}, " if spec.definition.graded else ""
    versions = check_versions() if isinstance(spec, EnvSpec) else _version_of(spec)
    print(
        f"{cfg.data}, {spec.definition.title} recorded with {recording.version}, replayed by {cfg.action_key} with "
        f"{', '.join(f'{name} {number}' for name, number in versions.items())}, {engine.name} engine: {graded}"
        f"{n - len(failed)} of {n} demonstrations succeed (Wilson 95 %: {100 * low:.1f}-{100 * high:.1f})"
        + (f"; not: {', '.join(failed[:8])}{' ...' if len(failed) > 8 else ''}." if failed else ".")
    )
    if isinstance(spec, EnvSpec):
        print(_observations(Path(str(cfg.data)), cfg.external, engine))
    return spec, chosen, engine


def _observations(path: Path, external: bool, engine: Engine) -> str:
    """Whether the recorded observations are those of the restored states, in a sentence for each that is not."""
    try:
        found = differences(path, external=external, engine=cast(RobotEngine, engine))
    except CannotCompareError as error:
        return f"Observations were not compared: {error}."
    if not found:
        return "The recorded observations are those of the restored states."
    return "\n".join(f"Observation {difference}." for difference in found)


def _version_of(spec: Spec) -> dict[str, str]:
    package = "gymnasium" if isinstance(spec, GymSpec) else "gym-pusht"
    return {package: version(package)}


def repeat_all(spec: Spec, episodes: Sequence[StoredEpisode], workers: int) -> list[Repeated]:
    """Executes all episodes again, on `workers` threads or processes."""
    results: dict[int, Repeated] = {}
    with Progress(len(episodes), "replay", "episode") as progress:
        for number, result in run_jobs(spec, "repeat", in_turn([(e.start, e.actions) for e in episodes]), workers):
            results[number] = result
            progress.update(1, success=f"{sum(r.success for r in results.values())}/{len(results)}")
    return [results[number] for number in range(len(episodes))]


def _chosen(episodes: list[StoredEpisode], wanted: Any) -> list[StoredEpisode]:
    if wanted is None:
        return episodes
    indices = list(wanted) if isinstance(wanted, ListConfig) else [wanted]
    by_index = {episode.index: episode for episode in episodes}
    if not indices or not all(index in by_index for index in indices):
        raise InputError(f"episodes={indices}: the file holds episodes {min(by_index)} to {max(by_index)}.")
    return [by_index[index] for index in indices]


if __name__ == "__main__":
    main()
