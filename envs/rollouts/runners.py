"""Builds the pool for a spec: threads or processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

from envs.rollouts.pool import HANG_SECONDS, Pool
from envs.rollouts.process_pool import ProcessPool
from envs.rollouts.ray_pool import RayPool
from envs.rollouts.thread_pool import ThreadPool
from envs.spec import Spec
from isd_core.support.errors import InputError

RUNNERS = ("local", "ray")


def make_pool(spec: Spec, slots: int, workers: int, hang_seconds: float = HANG_SECONDS, runner: str = "local") -> Pool:
    """Threads for the compiled engine, processes for everything else, or actors of a Ray cluster.

    Pictures are drawn in processes too: a graphics context belongs to one thread. `spec.engine` must be the resolved
    one (see `envs.engines.factory.resolve`). Raises `InputError` for another runner.
    """
    if runner not in RUNNERS:
        raise InputError(f"runner={runner}: expected one of {', '.join(RUNNERS)}.")
    if runner == "ray":
        return RayPool(spec, slots, workers, hang_seconds)
    kind = ThreadPool if spec.engine == "compiled" and not spec.picture_cameras else ProcessPool
    return kind(spec, slots, workers, hang_seconds)
