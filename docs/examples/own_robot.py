"""A policy in the control loop of one's own robot."""

import tempfile
import time

import numpy as np

import isd_policy
from isd_policy.deploy import Guards, LoopSettings, Runner, Stamped


class Pendulum:
    """A robot: `read` gives the newest observation with its time, `write` takes an action, `stop` makes it safe."""

    def __init__(self) -> None:
        self.angle, self.stopped = 1.0, False

    def read(self) -> Stamped:
        return Stamped({"angle": np.array([self.angle])}, time.monotonic())

    def write(self, action: np.ndarray) -> None:
        self.angle += 0.05 * float(action[0])

    def stop(self) -> None:
        self.stopped = True


# Demonstrations of a controller that brings the angle to zero.
angles = np.random.default_rng(0).uniform(-1, 1, (600, 1))
demos = isd_policy.Demonstrations.from_arrays(
    observations={"angle": angles}, actions=-angles, episode_ends=range(30, 601, 30), rate=20
)
with tempfile.TemporaryDirectory() as folder:
    small = isd_policy.preset("network", "unet1d_small")(widths=[16, 32])
    policy = isd_policy.train(demos, network=small, trainer="demo", steps=400, run_dir=f"{folder}/run")
    robot = Pendulum()
    with Runner(robot, policy, Guards.displacements(1, rate=0.5), LoopSettings(rate=20)) as runner:
        report = runner.run(ticks=60)
print(report.sentence())
print(f"The angle ends at {robot.angle:.2f}.")
