"""Vectorised rollouts: many live episodes, one batched call of the policy for all of them. Knows no network."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isd_core.support.history import ObservationHistory
from isd_core.support.progress import Progress
from isd_envs.engines.engine import Observation, State
from isd_envs.engines.factory import resolve
from isd_envs.engines.slot import ResetResult
from isd_envs.notes import say
from isd_envs.rollouts.pool import ATTEMPTS, HANG_SECONDS, Lost, Pool, Raised
from isd_envs.rollouts.runners import make_pool
from isd_envs.rollouts.statistics import wilson
from isd_envs.spec import Spec


@dataclass(frozen=True)
class Request:
    """A call of the policy in one episode: the call's number in it, and the last To observations (key -> [To, d])."""

    episode: int
    call: int
    obs: Observation


Act = Callable[[list[Request]], np.ndarray]
"""Requests -> actions [n, Ta, Da]. A row may depend on its own request only, whatever the others are."""
Enough = Callable[[Sequence["Episode"]], bool]
"""Whether the episodes of the first starts, all of them finished, say enough; asked each time they become one more."""


@dataclass(frozen=True)
class Episode:
    """One finished episode. `actions` [steps, Da] are the executed ones, `steps` the step of success or the last one.

    `score` is the largest of its steps (1 for success, 0 for failure where the task is not graded).
    `fault` tells why an episode ended early without success (a NaN in an action, an unstable simulation).
    """

    index: int
    success: bool
    steps: int
    start: dict[str, Any]
    actions: np.ndarray
    sim_seconds: float
    score: float
    fault: str | None = None


@dataclass
class Live:
    """An episode in a slot."""

    index: int
    history: ObservationHistory[Observation]
    start: dict[str, Any]
    sim_seconds: float
    score: float = 0.0
    calls: int = 0
    actions: list[np.ndarray] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return sum(map(len, self.actions))

    def request(self) -> Request:
        rows = self.history.rows()
        obs = {key: np.stack([row[key] for row in rows]) for key in rows[-1]}
        return Request(self.index, self.calls, obs)


class Rollout(list[Episode]):
    """The finished episodes in the order of their starts, and how the run went.

    engine, mode: what stepped them. enough: the caller's condition ended the run. interrupted: Ctrl-C ended it, so
    episodes are missing. policy_seconds and simulator_seconds: wall-clock time in `act` and outside it. replaced:
    messages about workers that were replaced.
    """

    def __init__(self, engine: str, mode: str) -> None:
        super().__init__()
        self.engine, self.mode = engine, mode
        self.interrupted = self.enough = False
        self.policy_seconds = 0.0
        self.simulator_seconds = 0.0
        self.replaced: list[str] = []

    @property
    def successes(self) -> int:
        return sum(episode.success for episode in self)


def rollout(
    env_spec: Spec,
    starts: Sequence[int | State],
    act: Act,
    *,
    obs_horizon: int,
    max_steps: int,
    workers: int = 1,
    live: int = 16,
    progress: Progress | None = None,
    hang_seconds: float = HANG_SECONDS,
    runner: str = "local",
    pool: Pool | None = None,
    enough: Enough | None = None,
) -> Rollout:
    """Runs one episode from each start (a seed or a stored start) and returns them in that order.

    At most `live` episodes run at once, spread over `workers` threads or processes (or, with runner "ray", actors of a
    Ray cluster); each executes the whole chunk that
    `act` returned before it asks again, and the first successful step ends it. The result depends on neither number as
    long as `act` keeps its promise (see `Act`). Ctrl-C returns what is finished. enough: ends the run early, with the
    first starts that satisfied it and no other, so the result does not depend on what else was under way.
    """
    if pool is None:
        env_spec = resolve(env_spec)
        slots = max(1, min(live, len(starts)))
        pool = make_pool(env_spec, slots, workers, hang_seconds, runner)
    run = _Run(env_spec, list(starts), act, obs_horizon, max_steps, pool, progress, enough)
    try:
        return run.finish()
    finally:
        pool.close()


class _Run:
    """The state of one rollout."""

    def __init__(
        self,
        spec: Spec,
        starts: list[int | State],
        act: Act,
        obs_horizon: int,
        max_steps: int,
        pool: Pool,
        progress: Progress | None,
        enough: Enough | None,
    ) -> None:
        self.enough, self.leading = enough, 0
        self.starts, self.act, self.obs_horizon, self.max_steps = starts, act, obs_horizon, max_steps
        self.pool, self.progress = pool, progress
        self.waiting = deque(range(len(starts)))
        self.episodes: dict[int, Episode] = {}
        self.assigned: dict[int, int] = {}
        self.live: dict[int, Live] = {}
        self.attempts = [0] * len(starts)
        self.result = Rollout(spec.engine, "exact" if spec.engine == "robosuite" else spec.mode)

    def finish(self) -> Rollout:
        began = time.perf_counter()
        try:
            for slot in range(self.pool.slots):
                self._begin_next(slot)
            self._gather()
            while self.live:
                self._tick()
        except KeyboardInterrupt:
            self.result.interrupted = True
            say(f"Interrupted: {len(self.episodes)} of {len(self.starts)} episodes are finished and kept.")
        kept = range(self.leading) if self.result.enough else sorted(self.episodes)
        self.result.extend(self.episodes[index] for index in kept)
        self.result.simulator_seconds = time.perf_counter() - began - self.result.policy_seconds
        return self.result

    def _tick(self) -> None:
        """One policy call for all live episodes, then their chunks."""
        slots = sorted(self.live, key=lambda slot: self.live[slot].index)
        began = time.perf_counter()
        chunks = self.act([self.live[slot].request() for slot in slots])
        self.result.policy_seconds += time.perf_counter() - began
        if len(chunks) != len(slots):
            raise ValueError(f"the policy returned {len(chunks)} action chunks for {len(slots)} requests")
        for slot, chunk in zip(slots, chunks, strict=True):
            episode = self.live[slot]
            episode.calls += 1
            actions = np.asarray(chunk, np.float64)[: self.max_steps - episode.steps]
            self.pool.submit(slot, "run_chunk", actions, self.obs_horizon)
            episode.actions.append(np.asarray(chunk, np.float64))
        self._gather()

    def _gather(self) -> None:
        """Takes results until no job is under way; slots whose episode ended begin the next start meanwhile."""
        while outcomes := self.pool.collect():
            for slot, outcome in outcomes:
                if self.result.enough:
                    continue  # of an episode that was under way
                if isinstance(outcome, Raised):
                    outcome.reraise()
                elif isinstance(outcome, Lost):
                    self._begin_again(slot, outcome.reason)
                elif isinstance(outcome, ResetResult):
                    self._start_episode(slot, outcome)
                else:
                    self._advance(slot, outcome.chunk, outcome.seconds)

    def _begin_next(self, slot: int) -> None:
        if self.waiting:
            self._begin(slot, self.waiting.popleft())

    def _begin(self, slot: int, index: int) -> None:
        self.assigned[slot] = index
        self.pool.submit(slot, "reset", self.starts[index])

    def _begin_again(self, slot: int, reason: str) -> None:
        self.live.pop(slot, None)
        index = self.assigned.pop(slot, None)
        if index is None:
            return
        self.attempts[index] += 1
        if self.attempts[index] >= ATTEMPTS:
            raise RuntimeError(f"episode {index} lost its worker {ATTEMPTS} times; the last time {reason}")
        message = f"{reason}; it was replaced and episode {index} begins again"
        self.result.replaced.append(message)
        say(f"Note: {message}.")
        self._begin(slot, index)

    def _start_episode(self, slot: int, reset: ResetResult) -> None:
        history = ObservationHistory[Observation](self.obs_horizon)
        history.push(reset.observation)
        self.live[slot] = Live(self.assigned[slot], history, reset.start, reset.seconds)

    def _advance(self, slot: int, chunk: Any, seconds: float) -> None:
        episode = self.live[slot]
        episode.sim_seconds += seconds
        episode.actions[-1] = episode.actions[-1][: chunk.steps]
        episode.score = max(episode.score, chunk.best)
        success = bool(chunk.success.any())
        if not (success or chunk.fault or chunk.ended or episode.steps >= self.max_steps):
            for back in range(min(chunk.steps, self.obs_horizon), 0, -1):
                episode.history.push({key: values[-back] for key, values in chunk.observations.items()})
            return
        self.episodes[episode.index] = Episode(
            index=episode.index,
            success=success,
            steps=episode.steps,
            start=episode.start,
            actions=np.concatenate(episode.actions),
            sim_seconds=episode.sim_seconds,
            score=episode.score,
            fault=chunk.fault,
        )
        del self.live[slot], self.assigned[slot]
        self._report()
        self._count_leading()
        self._begin_next(slot)

    def _count_leading(self) -> None:
        """Asks whether the finished episodes are enough, with the first start, the first two, and so on."""
        while self.enough is not None and not self.result.enough and self.leading in self.episodes:
            self.leading += 1
            if self.enough([self.episodes[index] for index in range(self.leading)]):
                self.result.enough = True
                self.waiting.clear()
                self.live.clear()

    def _report(self) -> None:
        if self.progress is None:
            return
        n, successes = len(self.episodes), sum(episode.success for episode in self.episodes.values())
        low, high = wilson(successes, n)
        self.progress.update(1, success=f"{successes}/{n}", wilson=f"{100 * low:.1f}-{100 * high:.1f} %")
