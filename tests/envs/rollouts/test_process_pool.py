"""Worker processes with robosuite's own step."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_envs.rollouts.process_pool import ProcessPool
from isd_envs.rollouts.rollout import Request, Rollout, rollout
from isd_envs.spec import EnvSpec

SPEC = EnvSpec(engine="robosuite")


def act(requests: list[Request]) -> np.ndarray:
    return np.array([np.random.default_rng([r.episode, r.call]).uniform(-1, 1, (4, 7)) for r in requests])


def run(pool: ProcessPool) -> Rollout:
    return rollout(SPEC, [1, 2, 3], act, obs_horizon=2, max_steps=8, pool=pool)


@pytest.mark.slow
def test_workers_do_not_change_the_result_and_a_killed_one_is_replaced() -> None:
    expected = run(ProcessPool(SPEC, slots=1, workers=1))
    pool = ProcessPool(SPEC, slots=3, workers=2)
    victim = pool.process_ids[0]
    threading.Timer(0.5, os.kill, (victim, signal.SIGKILL)).start()
    found = run(pool)
    assert victim not in pool.process_ids
    assert "died" in found.replaced[0]
    assert [e.start for e in found] == [e.start for e in expected]
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(found, expected, strict=True))


def test_an_input_error_in_a_worker_stays_an_input_error() -> None:
    pool = ProcessPool(SPEC, slots=1, workers=1)
    with pytest.raises(InputError, match="'can'"):
        rollout(SPEC, [{"task": "can"}], act, obs_horizon=2, max_steps=8, pool=pool)


def test_a_worker_that_cannot_start_ends_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isd_envs.rollouts.process_pool.sys.executable", "/bin/false")
    pool = ProcessPool(SPEC, slots=1, workers=1)
    with pytest.raises(RuntimeError, match="lost its worker 3 times; the last time a simulation process died"):
        rollout(SPEC, [1], act, obs_horizon=2, max_steps=8, pool=pool)
