"""`python -m isd_policy.run`: a policy in a control loop, simulated robot time against the wall clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from omegaconf import DictConfig

from envs.gym_env import SimulatedTask
from envs.spec import Spec
from isd_core import seeds
from isd_core.cli import command, resolved
from isd_core.files import write_json
from isd_core.sampling import check_nfe
from isd_policy.acting import check_start
from isd_policy.control import ControlLoop, LoopReport
from isd_policy.settings import check_positive, check_whole
from isd_policy.simulation import Simulation, open_simulation


class SimulatedRobot:
    """A simulated task as the loop's robot: episode i starts from the stream (seed, "run", i)."""

    def __init__(self, spec: Spec, max_steps: int, seed: int) -> None:
        self.env = SimulatedTask(**spec.to_dict())
        self.max_steps, self.seed = max_steps, seed
        space = self.env.action_space
        assert isinstance(space, Box)
        self.low, self.high = space.low, space.high
        self.delta = spec.goal == "delta"
        self.grippers = np.arange(6, len(self.low), 7)
        self.episodes = self.successes = 0
        self.reset()

    def reset(self) -> None:
        self._obs, _ = self.env.reset(seed=seeds.derive(self.seed, "run", self.episodes))
        self.episodes += 1
        self._steps, self._success = 0, False
        self._last = np.zeros_like(self.low)

    def read(self) -> Mapping[str, np.ndarray]:
        return self._obs

    def write(self, action: np.ndarray) -> None:
        self._obs, _, self._success, _, _ = self.env.step(action)
        self._last, self._steps = action, self._steps + 1
        self.successes += self._success

    def hold(self) -> np.ndarray:
        """No displacement (delta goals) or the last pose, with the grippers as they are."""
        if not self.delta:
            return self._last
        action = np.zeros_like(self._last)
        action[self.grippers] = self._last[self.grippers]
        return action

    def ended(self) -> bool:
        return self._success or self._steps >= self.max_steps

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


def drive(
    simulation: Simulation, *, rate: float, seconds: float, nfe: int, start: str, seed: int
) -> tuple[LoopReport, dict[str, Any]]:
    """Drives the simulated robot for `seconds` of its time, one control step a tick, `rate` ticks a second.

    Returns the loop's report and the content of the result file.
    """
    simulation.policy.nfe, simulation.policy.start = check_nfe(nfe), check_start(start)
    robot = SimulatedRobot(simulation.env, simulation.max_steps, seed)
    try:
        loop = ControlLoop(robot, simulation.policy, 1 / rate, seed=seed)
        loop.warm_up()
        robot.episodes = robot.successes = 0
        report = loop.run(max(1, round(seconds * simulation.env.control_freq)))
    finally:
        robot.close()
    content = (
        simulation.description()
        | report.to_dict()
        | {
            "simulated_seconds": report.ticks / simulation.env.control_freq,
            "successes": robot.successes,
            "nfe": nfe,
            "sampler_start": start,
            "seed": seed,
            "max_steps": simulation.max_steps,
        }
    )
    return report, content


@command("policy_run")
def main(cfg: DictConfig) -> None:
    """Drives the simulated robot by a policy at a fixed rate against the wall clock; reports latencies and misses."""
    config = resolved(cfg)
    check_positive(config, "rate", "seconds")
    check_whole(config, "seed", least=0)
    check_nfe(config["nfe"])
    simulation = open_simulation(config)
    options = {key: config[key] for key in ("rate", "seconds", "nfe", "start", "seed")}
    report, content = drive(simulation, **options)
    latency = content["latency_ms"]
    print(
        f"{simulation.title}, {config['nfe']} NFE at {config['rate']:g} Hz: {report.misses} of {report.ticks} "
        f"deadlines missed; policy {latency['p50']:.1f} ms p50, {latency['p95']:.1f} p95, {latency['p99']:.1f} p99, "
        f"{latency['max']:.1f} max over {len(report.policy)} calls; {content['successes']} successes, {report.resets} "
        f"resets (disarmed); {report.clipped} actions clipped, {report.rejected} chunks rejected."
    )
    if config["out"] is not None:
        write_json(config["out"], content)
        print(f"Written: {config['out']}.")
    if report.fault is not None:
        raise RuntimeError(f"The loop stopped: {report.fault}.")


if __name__ == "__main__":
    main()
