"""Builds the pool for a spec: threads or processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

from isd_core.support.errors import InputError
from isd_envs.rollouts.pool import HANG_SECONDS, Pool
from isd_envs.rollouts.process_pool import ProcessPool
from isd_envs.rollouts.ray_pool import RayPool
from isd_envs.rollouts.thread_pool import ThreadPool
from isd_envs.rollouts.transfer import confined
from isd_envs.spec import Spec

RUNNERS = ("local", "ray")


def make_pool(spec: Spec, slots: int, workers: int, hang_seconds: float = HANG_SECONDS, runner: str = "local") -> Pool:
    """Threads for the compiled engine, processes for everything else, or actors of a Ray cluster.

    Pictures are drawn in processes too: a graphics context belongs to one thread. An environment that is confined to
    this process gets one thread of it, since it need not stand several. `spec.engine` must be the resolved one (see
    `engines.factory.resolve`). Raises `InputError` for another runner, and for several workers where one thread is
    all there can be.
    """
    if runner not in RUNNERS:
        raise InputError(f"runner={runner}: expected one of {', '.join(RUNNERS)}.")
    reason = confined(spec)
    if reason and (workers > 1 or runner != "local"):
        raise InputError(
            f"workers={workers}, runner={runner}: {spec.task} cannot be made in other processes, because {reason}. Use "
            "workers=1 and runner=local, or register it in a module of its own and give its name."
        )
    if reason:
        return ThreadPool(spec, slots, 1, hang_seconds)
    if runner == "ray":
        return RayPool(spec, slots, workers, hang_seconds)
    kind = ThreadPool if spec.engine == "compiled" and not spec.picture_cameras else ProcessPool
    return kind(spec, slots, workers, hang_seconds)
