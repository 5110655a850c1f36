"""Simulating and recording change nothing outside: random numbers, threads, environment, warnings, signals."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isd_envs import demos
from isd_envs.engines.factory import make_engine
from isd_envs.isolation import kept_environment, kept_signal_handlers, no_warnings
from isd_envs.rollouts.rollout import Request, rollout
from isd_envs.spec import EnvSpec, spec_from_dict

State = Callable[[], dict[str, Any]]


@pytest.fixture
def everything(global_state: State) -> State:
    """What `global_state` compares, the environment variables, and the filters of Python's warnings."""
    return lambda: global_state() | {"environment": dict(os.environ), "filters": list(warnings.filters)}


@pytest.mark.parametrize("fields", [{"engine": "compiled"}, {"engine": "robosuite"}, {"task": "pusht"}])
def test_an_engine_leaves_the_process_as_it_was(fields: dict[str, str], everything: State) -> None:
    if fields.get("task") == "pusht":
        pytest.importorskip("gym_pusht", reason="the pusht extra is not installed")
    before = everything()
    engine = make_engine(spec_from_dict({"task": "lift"} | fields))
    engine.reset(3)
    engine.reset_to(engine.get_start())
    engine.run(np.zeros((2, engine.spec.definition.action_size)))
    engine.close()
    assert everything() == before


def test_a_generation_and_a_rollout_leave_the_process_as_it_was(tmp_path: Path, everything: State) -> None:
    def act(requests: list[Request]) -> np.ndarray:
        return np.zeros((len(requests), 4, 7))

    before = everything()
    words = [f"out={tmp_path / 'lift.hdf5'}", "episodes=1", "workers=1"]
    assert demos.main.run(*words) == 0
    rollout(EnvSpec(), [1, 2], act, obs_horizon=2, max_steps=8, workers=2)
    assert everything() == before


def test_the_first_import_of_the_simulators_leaves_the_environment_as_it_was() -> None:
    program = (
        "import os, warnings, envs\n"
        "before = dict(os.environ), list(warnings.filters)\n"
        "from isd_envs.engines.simulator import robosuite\n"
        "robosuite()\n"
        "from isd_envs.engines.pusht.engine import _world\n"
        "try: _world()\n"
        "except Exception as error: assert 'pusht' in str(error), error\n"
        "after = dict(os.environ), list(warnings.filters)\n"
        "assert after[0] == before[0], set(after[0].items()) ^ set(before[0].items())\n"
        "assert after[1] == before[1], [f for f in after[1] if f not in before[1]]\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_environment_is_restored_whatever_was_done_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISD_TEST_KEPT", "1")
    monkeypatch.setenv("ISD_TEST_REMOVED", "1")
    before = dict(os.environ)
    with pytest.raises(ValueError, match="on the way"), kept_environment():
        os.environ["ISD_TEST_KEPT"], os.environ["ISD_TEST_NEW"] = "2", "1"
        del os.environ["ISD_TEST_REMOVED"]
        raise ValueError("on the way")
    assert dict(os.environ) == before


def test_signal_handlers_are_restored(global_state: State) -> None:
    import signal

    before = global_state()
    with kept_signal_handlers():
        signal.signal(signal.SIGTERM, lambda *_: None)
    assert global_state() == before


def test_blocks_without_warnings_in_two_threads_keep_the_filters() -> None:
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with no_warnings():
            inside.set()
            leave.wait(10)

    def second() -> None:
        with no_warnings():
            pass

    threads = [threading.Thread(target=work) for work in (first, second)]
    threads[0].start()
    inside.wait(10)
    threads[1].start()
    threads[1].join(0.2)  # it waits for the first one, whose filters it would take for the caller's
    leave.set()
    for thread in threads:
        thread.join(10)
    assert list(warnings.filters) == before
