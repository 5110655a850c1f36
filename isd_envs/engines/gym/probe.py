"""What can be learnt of an environment by making it once: spaces, limits, and whether it honours its seed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces

from isd_core.support.errors import InputError
from isd_envs.engines.gym.spaces import Entry, action_box, entries_of

STEPS = 4
"""Steps after each of the resets that are compared."""
LARGEST_SEED = 2**31
"""Below it every random generator takes a seed."""

Observation = dict[str, np.ndarray]


class Source(Hashable, Protocol):
    """Where environments come from. Equal ones, by hash and comparison, give equal environments."""

    @property
    def title(self) -> str:
        """What they are called in messages."""

    def make(self) -> gymnasium.Env:
        """A new environment."""

    def step_limit(self, environment: gymnasium.Env) -> int | None:
        """The steps after which an episode ends by its definition, or None if there is no such number."""


@dataclass(frozen=True)
class Probe:
    """repeated: empty if two resets with one seed, and the same actions after them, gave the same observations; else
    what differed. varied: whether two seeds gave different starts. info: the entries of `info` that were seen.
    """

    observation_space: spaces.Space[Any]
    action_space: spaces.Box
    max_steps: int | None
    rate: float | None
    repeated: str
    varied: bool
    info: frozenset[str]


@lru_cache(maxsize=64)
def probe(source: Source) -> Probe:
    """Makes an environment, resets it four times, makes a few steps with each reset, and closes it.

    Raises `InputError` where its spaces cannot be used.
    """
    environment = source.make()
    try:
        box = action_box(environment.action_space, source.title)
        entries = {name: entry for name, entry in entries_of(environment.observation_space) if isinstance(entry, Entry)}
        traces: list[list[Observation]] = []
        info: set[str] = set()
        for seed in (1, 1, 2, 3):
            first, _ = environment.reset(seed=seed)
            trace = [_read(entries, first)]
            for action in random_actions(box, STEPS):
                after, _, terminated, truncated, found = environment.step(action)
                trace.append(_read(entries, after))
                info |= set(found)
                if terminated or truncated:
                    break
            traces.append(trace)
        once, again, *others = traces
        return Probe(
            observation_space=environment.observation_space,
            action_space=box,
            max_steps=source.step_limit(environment),
            rate=(environment.metadata or {}).get("render_fps"),
            repeated=_difference(once, again),
            varied=any(_difference(once[:1], other[:1]) for other in others),
            info=frozenset(info),
        )
    finally:
        environment.close()


def random_actions(box: spaces.Box, count: int, seed: int = 0) -> list[np.ndarray]:
    """Actions of the box from a stream of their own; where it has no bound, from -1 to 1."""
    low, high = (np.nan_to_num(bound, posinf=1.0, neginf=-1.0) for bound in (box.low, box.high))
    rng = np.random.default_rng(seed)
    return [rng.uniform(low, np.maximum(low, high)).astype(box.dtype) for _ in range(count)]


def _read(entries: dict[str, Entry], observation: Any) -> Observation:
    return {name: entry.read(observation) for name, entry in entries.items()}


def _difference(first: list[Observation], second: list[Observation]) -> str:
    """Where two traces differ, in words; empty where they are equal. Pictures count where there is nothing else."""
    numbers = [key for key, value in first[0].items() if value.ndim == 1]
    for step, (a, b) in enumerate(zip(first, second, strict=False)):
        for key in numbers or list(a):
            if not np.array_equal(a[key], b[key], equal_nan=a[key].dtype != np.uint8):
                apart = np.abs(a[key].astype(float) - b[key].astype(float)).max()
                when = "at the reset" if step == 0 else f"after step {step}, with the same actions"
                return f"`{key}` differs {when} by up to {apart:.3g}"
    return "" if len(first) == len(second) else "one of the episodes ended earlier"


def info_of_an_episode(source: Source, box: spaces.Box, steps: int) -> frozenset[str]:
    """The entries of `info` that one whole episode of random actions shows."""
    environment = source.make()
    try:
        _, info = environment.reset(seed=1)
        seen = set(info)
        for action in random_actions(box, steps):
            _, _, terminated, truncated, info = environment.step(action)
            seen |= set(info)
            if terminated or truncated:
                break
        return frozenset(seen)
    finally:
        environment.close()


def check_seed(seed: Any) -> int:
    """A seed as an environment takes it, below 2^31: of larger ones the remainder."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"The seed is {seed!r}; expected a whole number of at least 0.")
    return seed % LARGEST_SEED
