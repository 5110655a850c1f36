"""Demonstrations of any gymnasium environment, by a function that acts in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.progress import Progress
from isd_envs.demonstrations import demo_file
from isd_envs.engines.engine import Engine, Observation
from isd_envs.engines.factory import make_engine, resolve
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.engines.slot import Demonstration

MOST_FAILURES = 50
"""How many episodes may fail in a row before a policy is taken not to solve the task."""


def collect(
    spec: GymSpec,
    policy: Callable[[Observation], np.ndarray],
    episodes: int,
    seed: int,
    out: Path | str,
    *,
    begin: Callable[[], None] | None = None,
    valid_fraction: float = 0.1,
) -> int:
    """Writes `episodes` successful episodes in robomimic's layout, and returns how many were tried.

    policy: an observation, key -> [d] or [H, W, C], -> the action [Da]. begin: called before each episode, for a policy
    that remembers. Episode i starts from the stream (seed, "demonstration", i). An episode ends with its first success.
    The file's `env_args` are of type gymnasium, so that it can be trained on and evaluated.

    Raises `InputError` when `out` exists, and when the policy fails 50 times in a row.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists already; remove it, or choose another out=.")
    if episodes < 1:
        raise InputError(f"episodes={episodes}: expected at least 1.")
    spec = resolve(spec)
    engine, kept, last = make_engine(spec), list[Demonstration](), -1
    with Progress(episodes, "demonstrations", "episode") as progress:
        try:
            for index in itertools.count():
                if begin is not None:
                    begin()
                found = _episode(engine, policy, seed, index, spec.definition.max_steps)
                if found is not None:
                    kept.append(found)
                    last = index
                    progress.update(1, success=f"{len(kept)}/{index + 1}")
                if len(kept) == episodes:
                    break
                if index - last >= MOST_FAILURES:
                    raise InputError(
                        f"{MOST_FAILURES} episodes of {spec.task} in a row ended without success, after {len(kept)} "
                        f"that had it. Check the policy, and what success is: {spec.success}."
                    )
        finally:
            engine.close()
    settings = {"environment": spec.to_dict(), "episodes": episodes, "seed": seed, "valid_fraction": valid_fraction}
    demo_file.write(out, kept, spec.env_args, settings, valid_fraction, seed)
    return last + 1


def _episode(
    engine: Engine, act: Callable[[Observation], np.ndarray], seed: int, index: int, max_steps: int
) -> Demonstration | None:
    """An episode up to its first success; None where there is none."""
    observations = [engine.reset(seeds.derive(seed, "demonstration", index))]
    actions: list[np.ndarray] = []
    for _ in range(max_steps):
        action = np.asarray(act(observations[-1]), np.float64).reshape(-1)
        chunk = engine.run(action[None])
        if chunk.fault is not None:
            return None
        actions.append(action)
        observations.append({key: values[-1] for key, values in chunk.observations.items()})
        if chunk.success[-1]:
            rewards = np.zeros(len(actions))
            rewards[-1] = 1.0
            return Demonstration(
                index=index,
                success=True,
                observations={key: np.array([row[key] for row in observations]) for key in observations[0]},
                states=np.zeros((len(observations), 0)),
                actions=np.array(actions),
                rewards=rewards,
                model_xml="",
                start=engine.get_start(),
            )
        if chunk.ended:
            return None
    return None
