"""A policy on its simulated task: against the wall clock, or with a simulated latency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from isd_policy.deploy.loop.simulated import SimulatedRobot, jerk, jump
from isd_policy.simulation import Simulation


@dataclass(frozen=True)
class Strategy:
    """How a loop copes with latency."""

    name: str
    mode: str
    blend: int
    prefix: bool = False

    def applied(self, settings: LoopSettings) -> LoopSettings:
        """The settings of a loop that does so, in simulated time."""
        return replace(
            settings,
            mode=self.mode,
            blend=self.blend,
            prefix=self.prefix,
            watchdog=None,
            warm_up=0.0,
            hold=1e6,
            first_chunk=1e6,
        )


PREFIX = Strategy("async + prefix", "async", 0, prefix=True)
"""Asking ahead, and telling the policy what the robot does until its chunk arrives."""


def strategies(blend: int, policy: ChunkPolicy | None = None) -> tuple[Strategy, ...]:
    """Waiting for every chunk; asking ahead; asking ahead and blending over `blend` actions; and for a policy that was
    trained with a delay, `PREFIX`.
    """
    told = policy is not None and policy.longest_prefix is not None
    return (
        Strategy("sync", "sync", 0),
        Strategy("async", "async", 0),
        Strategy("async + blend", "async", blend),
        *([PREFIX] if told else []),
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
) -> dict[str, Any]:
    """Episodes in simulated time in which a call of `policy` takes `seconds`: success, jerk, jumps, starvation."""
    clock = VirtualClock()
    robot = SimulatedRobot(simulation.env, clock, simulation.max_steps, settings.seed)
    jerks, jumps = [], []
    try:
        inference = DelayedInference(policy, clock, lambda request: seconds)
        with Runner(robot, policy, guards, strategy.applied(settings), clock, inference) as runner:
            for _ in range(episodes):
                robot.reset()
                begin = runner.report.ticks
                runner.run(simulation.max_steps, until=robot.ended)
                actions, mode = np.array(robot.actions), simulation.env.action_mode
                jerks.append(jerk(actions, mode))
                jumps.append(jump(actions, runner.report.borders(begin), mode))
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
        "jerk": mean_of_some(jerks),
        "jump": mean_of_some(jumps),
        "outcomes": robot.outcomes,
        "starved": counts["starved"] / counts["ticks"],
        "reserve": counts["reserve"] / counts["ticks"],
        "stale_chunks": counts["stale"],
        "beyond_prefix": counts["beyond"],
    }


def mean_of_some(values: Sequence[float]) -> float | None:
    """The mean of the values that are numbers; None without any."""
    found = [value for value in values if np.isfinite(value)]
    return float(np.mean(found)) if found else None


def sweep(
    simulation: Simulation,
    delays_ms: Iterable[float],
    episodes: int,
    guards: Guards,
    settings: LoopSettings,
    blend: int,
) -> list[dict[str, Any]]:
    """`with_latency` for each delay and strategy, all from the same starts and with the same noise."""
    cells = [(delay / 1000, strategy) for delay in delays_ms for strategy in strategies(blend, simulation.policy)]
    with Progress(len(cells) * episodes, "latencies", "episode") as bar:
        return [
            with_latency(simulation, simulation.policy, seconds, strategy, episodes, guards, settings, bar)
            for seconds, strategy in cells
        ]


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows of a sweep as Markdown."""
    lines = [
        "| delay | loop | successes | Wilson 95 % | steps | jerk | jump at a border | ticks held |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['delay_ms']:g} ms | {row['strategy']} | {row['successes']} of {row['episodes']} | "
        f"{100 * row['low']:.1f}-{100 * row['high']:.1f} | {row['mean_steps']:.0f} | {_three(row['jerk'])} | "
        f"{_three(row['jump'])} | {100 * row['starved']:.0f} % |"
        for row in rows
    ]
    return "\n".join(lines)


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
