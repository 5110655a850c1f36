"""The bookkeeping of rollouts, on a toy engine; robosuite's processes are in test_process_pool.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from isd_envs.engines.engine import Chunk
from isd_envs.engines.slot import EnvSlot
from isd_envs.rollouts import rollout as module
from isd_envs.rollouts.pool import Lost
from isd_envs.rollouts.rollout import Request, Rollout, rollout
from isd_envs.rollouts.thread_pool import ThreadPool
from isd_envs.spec import EnvSpec

SPEC = EnvSpec()


class Counter:
    """A toy engine: the position moves by the first number of each action and succeeds at 10. The start is the seed."""

    def reset(self, seed: int) -> dict[str, np.ndarray]:
        self.start = self.position = float(seed)
        return {"object": np.array([self.position])}

    def reset_to(self, start: dict[str, Any]) -> dict[str, np.ndarray]:
        return self.reset(start["seed"])

    def get_start(self) -> dict[str, Any]:
        return {"seed": self.start}

    def run(self, actions: np.ndarray, until_success: bool = True) -> Chunk:
        positions = []
        for action in actions:
            if not np.isfinite(action).all():
                return Chunk({"object": np.array(positions).reshape(-1, 1)}, np.zeros(len(positions), bool), "NaN")
            self.position += action[0]
            positions.append(self.position)
            if self.position >= 10:
                break
        return Chunk({"object": np.array(positions)[:, None]}, np.array(positions) >= 10)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _toy_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isd_envs.engines.slot.make_engine", lambda spec: Counter())


def step_of_one(requests: list[Request]) -> np.ndarray:
    return np.ones((len(requests), 4, 7))


def run(starts: list[Any], act: Any = step_of_one, live: int = 3, workers: int = 1, **options: Any) -> Rollout:
    settings = {"obs_horizon": 2, "max_steps": 8} | options
    pool = settings.pop("pool", None) or ThreadPool(SPEC, slots=min(live, len(starts)), workers=workers)
    return rollout(SPEC, starts, act, pool=pool, **settings)


def test_episodes_come_in_the_order_of_their_starts() -> None:
    episodes = run([7, 1, 9, 5, 3])
    assert [episode.index for episode in episodes] == [0, 1, 2, 3, 4]
    assert [episode.steps for episode in episodes] == [3, 8, 1, 5, 7]
    assert [episode.success for episode in episodes] == [True, False, True, True, True]
    assert episodes.successes == 4


@pytest.mark.parametrize("live, workers", [(1, 1), (3, 1), (8, 3)])
def test_a_run_ends_with_the_first_starts_that_are_enough(live: int, workers: int) -> None:
    """Later starts that ended before them are not told of, however many ran beside."""
    episodes = run(
        [7, 1, 9, 5, 3, 9, 9, 9], live=live, workers=workers, enough=lambda done: sum(e.success for e in done) == 2
    )
    assert [episode.index for episode in episodes] == [0, 1, 2]
    assert episodes.enough and not episodes.interrupted


def test_a_run_that_is_never_enough_is_whole() -> None:
    episodes = run([7, 1, 9], enough=lambda done: False)
    assert len(episodes) == 3 and not episodes.enough


@pytest.mark.parametrize("live, workers", [(1, 1), (2, 2), (8, 3)])
def test_the_result_depends_on_neither_workers_nor_live_episodes(live: int, workers: int) -> None:
    def noisy(requests: list[Request]) -> np.ndarray:
        rows = [np.random.default_rng([r.episode, r.call]).uniform(0, 2, (4, 7)) for r in requests]
        return np.array(rows)

    expected = run(list(range(10)), noisy, live=3)
    found = run(list(range(10)), noisy, live=live, workers=workers)
    assert [e.steps for e in found] == [e.steps for e in expected]
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(found, expected, strict=True))


def test_the_policy_sees_the_last_observations_and_the_call_number() -> None:
    seen: list[tuple[int, list[float]]] = []

    def record(requests: list[Request]) -> np.ndarray:
        seen.extend((r.call, r.obs["object"][:, 0].tolist()) for r in requests)
        return step_of_one(requests)

    run([1], record)
    assert seen == [(0, [1.0, 1.0]), (1, [4.0, 5.0])]


def test_the_executed_actions_end_with_success() -> None:
    (episode,) = run([5])
    assert episode.actions.shape == (5, 7)
    assert episode.start == {"seed": 5.0}


def test_stored_starts_are_taken() -> None:
    assert run([{"seed": 9}])[0].steps == 1


def test_nan_fails_the_episode_and_says_so() -> None:
    episodes = run([1, 9], lambda requests: np.full((len(requests), 4, 7), np.nan))
    assert [(e.success, e.fault) for e in episodes] == [(False, "NaN"), (False, "NaN")]


def test_interruption_keeps_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(requests: list[Request]) -> np.ndarray:
        if any(request.episode == 2 for request in requests):
            raise KeyboardInterrupt
        return step_of_one(requests)

    episodes = run([9, 9, 9], interrupted, live=1)
    assert episodes.interrupted
    assert [episode.index for episode in episodes] == [0, 1]
    assert "2 of 3 episodes" in capsys.readouterr().err


class Faulty(ThreadPool):
    """Loses the worker at the given jobs."""

    def __init__(self, lost: Iterator[bool], slots: int) -> None:
        super().__init__(SPEC, slots, workers=1)
        self.lost = lost

    def collect(self) -> list[tuple[int, Any]]:
        outcomes = super().collect()
        return [(slot, Lost("a worker died") if next(self.lost) else outcome) for slot, outcome in outcomes]


def test_a_lost_worker_repeats_its_episode_with_the_same_result(capsys: pytest.CaptureFixture[str]) -> None:
    expected = run([1, 2, 3], live=1)
    jobs = iter([False, False, True] + [False] * 100)
    found = run([1, 2, 3], pool=Faulty(jobs, slots=1))
    assert [e.steps for e in found] == [e.steps for e in expected]
    assert found.replaced == ["a worker died; it was replaced and episode 0 begins again"]
    assert "a worker died" in capsys.readouterr().err


def test_an_episode_that_always_loses_its_worker_ends_the_rollout() -> None:
    with pytest.raises(RuntimeError, match="episode 0 lost its worker 3 times"):
        run([1], pool=Faulty(iter([True] * 100), slots=1))


def test_an_error_in_the_engine_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "run", lambda self, actions: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run([1])


def test_a_wrong_number_of_chunks_is_refused() -> None:
    with pytest.raises(ValueError, match="2 action chunks for 1 requests"):
        run([1], lambda requests: np.ones((2, 4, 7)))


def test_a_hung_thread_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    released, hung = threading.Event(), []
    reset = EnvSlot.reset

    def hang_once(self: EnvSlot, start: Any) -> Any:
        if not hung:
            hung.append(True)
            released.wait(20)
        return reset(self, start)

    monkeypatch.setattr(EnvSlot, "reset", hang_once)
    episodes = run([9, 5], pool=ThreadPool(SPEC, slots=2, workers=1, hang_seconds=0.2))
    released.set()
    assert [episode.steps for episode in episodes] == [1, 5]
    assert "hung" in episodes.replaced[0]


def test_progress_tells_the_running_success() -> None:
    class Recorder:
        shown: list[dict[str, str]] = []  # noqa: RUF012

        def update(self, n: int, **shown: str) -> None:
            self.shown.append(shown)

    run([9, 1], live=1, progress=Recorder())
    assert [row["success"] for row in Recorder.shown] == ["1/1", "1/2"]
    assert module.wilson(1, 2)[0] < 0.5
