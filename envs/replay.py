"""Recorded episodes again, without the policy: `python -m envs.replay results=FILE episodes=[0,1] out=DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig

from envs import film, records
from envs.engine import Engine, make_engine
from envs.records import Recorded
from isd_core.cli import command
from isd_core.errors import InputError
from isd_core.progress import Progress

FRAMES_OF_SHEET = 8


@dataclass(frozen=True)
class Replayed:
    """An episode executed again. frames: captioned pictures, empty where none were asked for."""

    success: bool
    steps: int
    frames: list[np.ndarray]


def replay(engine: Engine, episode: Recorded, size: int = 0, camera: str = "agentview", every: int = 2) -> Replayed:
    """Executes the recorded actions from the recorded start; with `size` draws every so many steps (pixels)."""
    engine.reset_to(episode.start)
    frames = [engine.frame(size, size, camera)] if size else []
    steps, success = 0, False
    stride = every if size else len(episode.actions)
    for first in range(0, len(episode.actions), max(1, stride)):
        chunk = engine.run(episode.actions[first : first + stride])
        steps += chunk.steps
        success = success or bool(chunk.success.any())
        if size:
            frames.append(engine.frame(size, size, camera))
    verdict = "success" if success else "failure"
    caption = f"episode {episode.index}, {episode.label} NFE, {verdict}"
    return Replayed(success, steps, [film.captioned(frame, caption) for frame in frames])


def film_episodes(
    engine: Engine, episodes: list[Recorded], out: Path, *, size: int, camera: str, every: int, rate: float
) -> list[Path]:
    """Writes MP4 and GIF of each episode and a contact sheet of all; returns the paths."""
    out.mkdir(parents=True, exist_ok=True)
    written, rows = [], []
    for episode in episodes:
        replayed = replay(engine, episode, size, camera, every)
        stem = f"nfe{episode.label}_episode{episode.index:04d}"
        film.write_mp4(out / f"{stem}.mp4", replayed.frames, rate)
        film.write_gif(out / f"{stem}.gif", replayed.frames, rate)
        written += [out / f"{stem}.mp4", out / f"{stem}.gif"]
        rows.append(film.spread(replayed.frames, FRAMES_OF_SHEET))
    film.contact_sheet(out / "contact_sheet.png", rows)
    return [*written, out / "contact_sheet.png"]


def film_results(results: Path, first: int, size: int = 256, camera: str = "agentview", every: int = 2) -> Path:
    """Films the first episodes of each run of a result file into the folder `<results>_video`, which it returns."""
    recorded = records.load(results)
    engine = make_engine(recorded.spec)
    out = results.with_name(results.stem + "_video")
    rate = recorded.spec.control_freq / every
    for label, episodes in recorded.episodes.items():
        film_episodes(engine, episodes[:first], out / f"nfe{label}", size=size, camera=camera, every=every, rate=rate)
    return out


@command("env_replay")
def main(cfg: DictConfig) -> None:
    """Repeats recorded episodes of an evaluation, checks their verdicts, and draws them where `out` is given."""
    recorded = records.load(Path(str(cfg.results)))
    label = str(cfg.nfe) if cfg.nfe is not None else next(iter(recorded.episodes))
    if label not in recorded.episodes:
        raise InputError(f"{cfg.results} has no results for nfe={label}; it has {', '.join(recorded.episodes)}.")
    chosen = _chosen(recorded.episodes[label], cfg.episodes)
    engine = make_engine(recorded.spec)
    different = []
    with Progress(len(chosen), "replay", "episode") as progress:
        for episode in chosen:
            if replay(engine, episode).success != episode.success:
                different.append(episode.index)
            progress.update(1)
    print(
        f"{recorded.spec.definition.title}, {label} NFE, {engine.name} engine: {len(chosen) - len(different)} of "
        f"{len(chosen)} episodes end as recorded" + (f"; others: {different}." if different else ".")
    )
    if cfg.out is not None:
        options: dict[str, Any] = {"size": cfg.size, "camera": cfg.camera, "every": cfg.every}
        rate = recorded.spec.control_freq / cfg.every
        written = film_episodes(engine, chosen, Path(str(cfg.out)), rate=rate, **options)
        print(f"Written: {len(written)} files in {cfg.out}, among them contact_sheet.png.")


def _chosen(episodes: list[Recorded], wanted: Any) -> list[Recorded]:
    if wanted is None:
        return episodes
    indices = list(wanted) if isinstance(wanted, ListConfig) else [wanted]
    by_index = {episode.index: episode for episode in episodes}
    if not indices or not all(index in by_index for index in indices):
        raise InputError(f"episodes={indices}: the file holds episodes {min(by_index)} to {max(by_index)}.")
    return [by_index[index] for index in indices]


if __name__ == "__main__":
    main()
