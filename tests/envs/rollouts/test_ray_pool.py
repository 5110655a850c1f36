"""A local Ray cluster of two nodes, of which one is killed in the middle of an evaluation."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="the ray extra is not installed")

from isd_core.support.errors import InputError  # noqa: E402
from isd_envs.rollouts.rollout import Request, rollout  # noqa: E402
from isd_envs.rollouts.runners import make_pool  # noqa: E402
from isd_envs.spec import EnvSpec  # noqa: E402

SPEC = EnvSpec()
STARTS = [1, 2, 3, 4]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80_000_000})
    ray.init(address=cluster.address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def act(requests: list[Request]) -> np.ndarray:
    return np.array([np.random.default_rng([r.episode, r.call]).uniform(-1, 1, (4, 7)) for r in requests])


@pytest.mark.slow
def test_a_killed_node_does_not_change_the_result(cluster: Any) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)  # one actor fits on each node
    expected = rollout(SPEC, STARTS, act, obs_horizon=2, max_steps=40, live=2)
    calls = 0

    def act_and_kill(requests: list[Request]) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 5:
            cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
            cluster.remove_node(node, allow_graceful=False)
            time.sleep(5)  # an actor's process notices a moment later that its node is gone
        return act(requests)

    pool = make_pool(SPEC, slots=2, workers=2, runner="ray")
    found = rollout(SPEC, STARTS, act_and_kill, obs_horizon=2, max_steps=40, pool=pool)
    assert any("Ray actor died" in message for message in found.replaced)
    assert [e.start for e in found] == [e.start for e in expected]
    assert [e.steps for e in found] == [e.steps for e in expected]
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(found, expected, strict=True))


def test_an_unknown_runner_is_refused() -> None:
    with pytest.raises(InputError, match="runner=slurm"):
        make_pool(SPEC, 1, 1, runner="slurm")
