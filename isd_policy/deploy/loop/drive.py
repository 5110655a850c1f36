"""A policy on its simulated task: against the wall clock, or with a simulated latency."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isd_core.support.progress import Progress
from isd_envs.rollouts.statistics import wilson
from isd_policy.deploy.loop.clock import MonotonicClock, VirtualClock
from isd_policy.deploy.loop.guards import Guards
from isd_policy.deploy.loop.inference import DelayedInference
from isd_policy.deploy.loop.report import Report
from isd_policy.deploy.loop.robot import ChunkPolicy
from isd_policy.deploy.loop.runner import Runner
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.deploy.loop.simulated import SimulatedRobot, jerk
from isd_policy.simulation import Simulation


@dataclass(frozen=True)
class Strategy:
    """How a loop copes with latency."""

    name: str
    mode: str
    blend: int

    def applied(self, settings: LoopSettings) -> LoopSettings:
        """The settings of a loop that does so, in simulated time."""
        return replace(
            settings, mode=self.mode, blend=self.blend, watchdog=None, warm_up=0.0, hold=1e6, first_chunk=1e6
        )


def strategies(blend: int) -> tuple[Strategy, ...]:
    """Waiting for every chunk; asking ahead; asking ahead and blending over `blend` actions."""
    return (
        Strategy("sync", "sync", 0),
        Strategy("async", "async", 0),
        Strategy("async + blend", "async", blend),
    )


def against_the_clock(
    simulation: Simulation, seconds: float, guards: Guards, settings: LoopSettings
) -> tuple[Report, dict[str, Any]]:
    """Drives the simulated robot for `seconds` of its time, one control step a tick; the report and the result file."""
    clock = MonotonicClock()
    robot = SimulatedRobot(simulation.env, clock, simulation.max_steps, settings.seed)
    ticks = max(1, round(seconds * simulation.env.control_freq))
    reset_seconds = 0.0
    try:
        with Runner(robot, simulation.policy, guards, settings, clock) as runner:
            report = runner.report
            while report.ticks < ticks and report.fault is None:
                began = clock.now()
                robot.reset()
                reset_seconds += clock.now() - began
                runner.run(ticks - report.ticks, until=robot.ended)
    finally:
        robot.close()
    content = report.to_dict() | {
        "reset_seconds": reset_seconds,
        "simulated_seconds": report.ticks / simulation.env.control_freq,
        "successes": robot.successes,
        "mean_score": float(np.mean(robot.scores)),
    }
    return report, content


def with_latency(
    simulation: Simulation,
    policy: ChunkPolicy,
    seconds: float,
    strategy: Strategy,
    episodes: int,
    guards: Guards,
    settings: LoopSettings,
    progress: Progress,
    ready: Callable[[Runner], None] = lambda runner: None,
) -> dict[str, Any]:
    """Episodes in simulated time in which a call of `policy` takes `seconds`: success, jerk, starvation.

    ready: told of the runner before the first episode.
    """
    clock = VirtualClock()
    robot = SimulatedRobot(simulation.env, clock, simulation.max_steps, settings.seed)
    jerks = []
    try:
        inference = DelayedInference(policy, clock, lambda request: seconds)
        with Runner(robot, policy, guards, strategy.applied(settings), clock, inference) as runner:
            ready(runner)
            for _ in range(episodes):
                robot.reset()
                runner.run(simulation.max_steps, until=robot.ended)
                jerks.append(jerk(np.array(robot.actions), simulation.env.action_mode))
                progress.update(1)
    finally:
        robot.close()
    counts, (low, high) = runner.report.counts, wilson(robot.successes, episodes)
    return {
        "delay_ms": 1000 * seconds,
        "strategy": strategy.name,
        "successes": robot.successes,
        "episodes": episodes,
        "rate": robot.successes / episodes,
        "low": low,
        "high": high,
        "mean_score": float(np.mean(robot.scores)),
        "mean_steps": float(np.mean(robot.lengths)),
        "jerk": float(np.nanmean(jerks)),
        "starved": counts["starved"] / counts["ticks"],
        "reserve": counts["reserve"] / counts["ticks"],
        "stale_chunks": counts["stale"],
    }


def sweep(
    simulation: Simulation,
    delays_ms: Iterable[float],
    episodes: int,
    guards: Guards,
    settings: LoopSettings,
    blend: int,
) -> list[dict[str, Any]]:
    """`with_latency` for each delay and strategy, all from the same starts and with the same noise."""
    cells = [(delay / 1000, strategy) for delay in delays_ms for strategy in strategies(blend)]
    with Progress(len(cells) * episodes, "latencies", "episode") as bar:
        return [
            with_latency(simulation, simulation.policy, seconds, strategy, episodes, guards, settings, bar)
            for seconds, strategy in cells
        ]


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows of a sweep as Markdown."""
    lines = [
        "| delay | loop | successes | Wilson 95 % | steps | jerk | ticks held |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['delay_ms']:g} ms | {row['strategy']} | {row['successes']} of {row['episodes']} | "
        f"{100 * row['low']:.1f}-{100 * row['high']:.1f} | {row['mean_steps']:.0f} | {row['jerk']:.3f} | "
        f"{100 * row['starved']:.0f} % |"
        for row in rows
    ]
    return "\n".join(lines)
