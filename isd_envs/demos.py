"""Demonstrations of the scripted expert: `python -m isd_envs.demos task=lift episodes=200 workers=2 out=FILE.hdf5`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from isd_core.support.cli import command
from isd_core.support.errors import InputError
from isd_core.support.overrides import command_line
from isd_core.support.progress import Progress
from isd_envs.demonstrations import demo_file
from isd_envs.demonstrations.experts import check_expert
from isd_envs.engines.factory import resolve
from isd_envs.engines.gym.making import import_package
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.engines.slot import Demonstration
from isd_envs.notes import say
from isd_envs.rollouts.jobs import Job, run_jobs
from isd_envs.rollouts.statistics import wilson
from isd_envs.spec import EnvSpec
from isd_envs.task_configs import spec_of_task
from isd_envs.tasks import TASKS

WORST_SUCCESS = 0.2
"""The generation gives up when fewer episodes than this succeed (after the first fifty)."""


def generate(
    spec: EnvSpec | GymSpec,
    episodes: int,
    workers: int,
    seed: int,
    out: Path,
    *,
    expert: Mapping[str, Any] | None = None,
    noise: float,
    extra_steps: int,
    max_steps: int,
    valid_fraction: float,
    runner: str = "local",
) -> dict[str, Any]:
    """Writes the first `episodes` successful episodes of the expert, in the order of their index, to `out`.

    Episode i starts from the stream (seed, "demonstration", i), so the file does not depend on the number of workers.
    Finished episodes survive a kill: the same call continues. expert: the expert's own fields. Returns counts and
    seconds. Raises `InputError` when `out` or its unfinished parts come from other settings, when the task has no
    expert or a picture among its observations, and when the expert hardly ever succeeds.
    """
    options = dict(expert or {})
    check_expert(spec.task, options)
    if spec.picture_shapes:
        raise InputError(
            f"{spec.task} observes the pictures {', '.join(spec.picture_shapes)}, which this command does not record: "
            "name the numbers alone by task.observations={ours: theirs}, or use isd_envs.collect."
        )
    settings = {
        "environment": {key: value for key, value in spec.to_dict().items() if key != "engine"},
        "episodes": episodes,
        "seed": seed,
        "noise": noise,
        "extra_steps": extra_steps,
        "max_steps": max_steps,
        "valid_fraction": valid_fraction,
        **({"expert": options} if options else {}),
    }
    if out.exists():
        if demo_file.settings_of(out) == settings:
            return {"episodes": episodes, "tried": 0, "seconds": 0.0, "existed": True}
        raise InputError(f"{out} exists and was not made with these settings. Remove it, or give another out=.")
    began = time.perf_counter()
    parts = demo_file.Parts(out, settings)
    done = parts.load()
    spec = resolve(spec)
    try:
        _collect(spec, parts, done, episodes, (seed, noise, max_steps, extra_steps, options), workers, runner)
    except KeyboardInterrupt:
        say(f"{len(done)} finished episodes are kept in {parts.folder}; the same command continues.")
        raise
    tried, kept = _prefix(done, episodes)
    demo_file.write(out, kept, spec.env_args, settings, valid_fraction, seed)
    parts.remove()
    return {
        "episodes": len(kept),
        "tried": tried,
        "steps": sum(len(demonstration.actions) for demonstration in kept),
        "seconds": time.perf_counter() - began,
        "engine": spec.engine,
        "existed": False,
    }


def _collect(
    spec: EnvSpec | GymSpec,
    parts: demo_file.Parts,
    done: dict[int, Demonstration],
    episodes: int,
    arguments: tuple[int, float, int, int, dict[str, Any]],
    workers: int,
    runner: str,
) -> None:
    """Runs episodes in the order of their index until the leading ones hold enough successes."""
    seed, *how = arguments
    asked: set[int] = set()

    def next_job() -> Job | None:
        """The next index, as long as the indices before it may not suffice."""
        index = next(i for i in itertools.count() if i not in done and i not in asked)
        if index - sum(not done[i].success for i in range(index) if i in done) >= episodes:
            return None
        asked.add(index)
        return index, (seed, index, *how)

    successes = sum(demonstration.success for demonstration in done.values())
    with Progress(episodes, "demonstrations", "episode", initial=min(successes, episodes)) as progress:
        for index, demonstration in run_jobs(spec, "demonstrate", next_job, workers, runner):
            done[index] = demonstration
            parts.save(demonstration)
            successes += demonstration.success
            _report(progress, successes, len(done), int(demonstration.success and successes <= episodes))


def _report(progress: Progress, successes: int, tried: int, new: int) -> None:
    low, high = wilson(successes, tried)
    progress.update(new, success=f"{successes}/{tried}", wilson=f"{100 * low:.1f}-{100 * high:.1f} %")
    if tried >= 50 and successes < WORST_SUCCESS * tried:
        raise InputError(
            f"Only {successes} of {tried} episodes of the scripted expert succeed. Lower noise=, or check the "
            "environment's settings."
        )


def _prefix(done: dict[int, Demonstration], episodes: int) -> tuple[int, list[Demonstration]]:
    """(episodes tried, the first successful ones in the order of their index)."""
    kept: list[Demonstration] = []
    for index in itertools.count():
        if index not in done:
            break
        if done[index].success:
            kept.append(done[index])
        if len(kept) == episodes:
            return index + 1, kept
    raise RuntimeError(f"only {len(kept)} of {episodes} demonstrations were made")


@command("env_demos")
def main(cfg: DictConfig) -> None:
    """Records demonstrations of the scripted expert in robomimic's HDF5 layout. Run again, it continues."""
    for field in ("episodes", "workers"):
        if not isinstance(cfg[field], int) or cfg[field] < 1:
            raise InputError(f"{field} is {cfg[field]!r}; expected a whole number above 0.")
    spec = _spec(cfg)
    out = Path(str(cfg.out))
    result = generate(
        spec,
        cfg.episodes,
        cfg.workers,
        cfg.seed,
        out,
        noise=cfg.noise,
        extra_steps=cfg.extra_steps,
        max_steps=cfg.task.max_steps or spec.definition.max_steps,
        valid_fraction=cfg.valid_fraction,
        runner=cfg.runner,
        expert=_container(cfg.expert),
    )
    title = spec.definition.title
    if result["existed"]:
        print(f"{out} holds these {cfg.episodes} demonstrations already; nothing was done.")
    else:
        print(
            f"{title}: {result['episodes']} of {result['tried']} expert episodes succeeded and were kept "
            f"({result['steps']} steps) in {result['seconds']:.1f} s with the {result['engine']} engine."
        )
        print(f"Written: {out}.")
    words = {"task": cfg.task.name, "data": str(out), "objective": "isd", "run_dir": "runs/policy"}
    print(f"Next: {command_line('isd_policy.train', **words)}")


def _spec(cfg: DictConfig) -> EnvSpec | GymSpec:
    """The environment of the config: `env` is how a robot of robosuite's is controlled."""
    if cfg.task.name in TASKS:
        return EnvSpec.from_dict({"task": cfg.task.name} | _container(cfg.env))
    if cfg.task.get("package"):
        import_package(cfg.task.package)
    spec = spec_of_task(_container(cfg.task))
    assert isinstance(spec, GymSpec)
    return spec


def _container(config: DictConfig) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


if __name__ == "__main__":
    main()
