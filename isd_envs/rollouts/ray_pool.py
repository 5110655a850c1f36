"""The same places for live episodes on a Ray cluster (`runner=ray`; the extra `ray`).

The driver makes the plan and calls the policy; actors on any node hold the engines. An actor that dies with its node
is replaced on another one, and its episodes begin again, so the result is that of one machine, to the last digit.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import time
from pathlib import Path
from typing import Any

from isd_core.support.errors import InputError
from isd_envs.engines.slot import EnvSlot
from isd_envs.isolation import kept_environment, kept_signal_handlers
from isd_envs.rollouts.pool import HANG_SECONDS, Lost, perform
from isd_envs.rollouts.transfer import packed, unpacked
from isd_envs.spec import Spec


class _Server:
    """What runs in an actor: several env_slots, served in turn."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.spec = unpacked(message)
        self.env_slots: dict[int, EnvSlot] = {}

    def perform(self, slot: int, method: str, arguments: tuple[Any, ...]) -> Any:
        """The result of one job."""
        return perform(self.env_slots.setdefault(slot, EnvSlot(self.spec)), method, arguments)


class RayPool:
    """`workers` actors of one CPU each. Connects to the cluster of `RAY_ADDRESS`, or starts Ray on this machine."""

    def __init__(self, spec: Spec, slots: int, workers: int, hang_seconds: float = HANG_SECONDS) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError("runner=ray needs the package ray: pip install 'isd-flow[ray]', or use runner=local.")
        import ray

        self._ray = ray
        self.slots, self.spec, self.hang_seconds = slots, spec, hang_seconds
        if not ray.is_initialized():
            with kept_environment(), kept_signal_handlers():  # Ray puts a SIGTERM handler of its own in place
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        self._actors = [self._actor() for _ in range(max(1, min(workers, slots)))]
        self._jobs: dict[Any, tuple[int, float]] = {}

    def _actor(self) -> Any:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        variables = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        if cache := os.environ.get("ISD_CACHE"):
            variables["ISD_CACHE"] = cache
        # Ray must not restart an actor by itself: the new one would have lost its episodes and not say so.
        remote = self._ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(_Server)
        remote = remote.options(runtime_env={"env_vars": variables})
        return remote.remote(packed(self.spec))

    def _worker(self, slot: int) -> int:
        return slot % len(self._actors)

    def submit(self, slot: int, method: str, *arguments: Any) -> None:
        """Queues a job with the slot's actor."""
        job = self._actors[self._worker(slot)].perform.remote(slot, method, arguments)
        self._jobs[job] = (slot, time.monotonic())

    def collect(self) -> list[tuple[int, Any]]:
        """See `isd_envs.rollouts.pool.Pool`."""
        while self._jobs:
            ready, _ = self._ray.wait(list(self._jobs), timeout=min(5.0, self.hang_seconds))
            done: list[tuple[int, Any]] = []
            for job in ready:
                if job not in self._jobs:
                    continue  # lost together with an actor that was replaced a moment ago
                slot, _ = self._jobs.pop(job)
                try:
                    done.append((slot, self._ray.get(job)))
                except self._ray.exceptions.RayError as error:
                    done = self._replace(self._worker(slot), f"a Ray actor died ({type(error).__name__})", done)
            for index in self._hung():
                done = self._replace(index, f"a Ray actor hung for more than {self.hang_seconds:.0f} s", done)
            if done:
                return done
        return []

    def _hung(self) -> set[int]:
        """Actors whose oldest job is overdue. Jobs of one actor wait for each other, so each may take its time."""
        oldest: dict[int, float] = {}
        waiting: dict[int, int] = {}
        for slot, began in self._jobs.values():
            worker = self._worker(slot)
            oldest[worker] = min(began, oldest.get(worker, began))
            waiting[worker] = waiting.get(worker, 0) + 1
        now = time.monotonic()
        return {worker for worker, began in oldest.items() if now - began > self.hang_seconds * waiting[worker]}

    def _replace(self, index: int, reason: str, done: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
        """A new actor for this worker; what its slots had reported a moment ago is void."""
        with contextlib.suppress(Exception):  # the actor may be gone already
            self._ray.kill(self._actors[index])
        self._actors[index] = self._actor()
        self._jobs = {job: entry for job, entry in self._jobs.items() if self._worker(entry[0]) != index}
        kept = [(slot, result) for slot, result in done if self._worker(slot) != index]
        return kept + [(slot, Lost(reason)) for slot in range(self.slots) if self._worker(slot) == index]

    def close(self) -> None:
        """Ends the actors; the connection to the cluster stays."""
        for actor in self._actors:
            with contextlib.suppress(Exception):  # a node that is gone took its actor along
                self._ray.kill(actor)
