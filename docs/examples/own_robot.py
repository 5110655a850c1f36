"""A policy in the control loop of one's own robot."""

import tempfile
import time

import numpy as np

import isd_policy
from isd_policy.deploy import Guards, LoopSettings, Runner, Stamped

RATE = 20  # actions a second


class Joint:
    """A robot: `read` gives the newest observation with its time, `write` takes an action, `stop` makes it safe."""

    def __init__(self, angle: float) -> None:
        self.angle, self.stopped = angle, False

    def read(self) -> Stamped:
        return Stamped({"angle": np.array([self.angle])}, time.monotonic())

    def write(self, action: np.ndarray) -> None:
        self.angle += float(action[0]) / RATE  # the action is a speed, rad/s

    def stop(self) -> None:
        self.stopped = True


# Fifty episodes of a controller that brings the angle to zero, recorded with the robot itself.
rng = np.random.default_rng(0)
angles, speeds, ends = [], [], []
for start in rng.uniform(-1, 1, 50):
    robot = Joint(start)
    for _ in range(40):
        speed = np.clip([-3 * robot.angle], -1, 1)
        angles.append([robot.angle])
        speeds.append(speed)
        robot.write(speed)
    ends.append(len(angles))

demos = isd_policy.Demonstrations.from_arrays(
    observations={"angle": np.array(angles)}, actions=np.array(speeds), episode_ends=ends, rate=RATE
)
with tempfile.TemporaryDirectory() as folder:
    small = isd_policy.preset("network", "dit1d")(width=64, depth=2, heads=2)
    policy = isd_policy.train(
        demos,
        network=small,
        horizons={"observation": 1, "prediction": 8, "execution": 4},
        trainer=isd_policy.preset("trainer", "demo")(batch_size=64, **{"optimizer.lr": 3e-3}),
        steps=150,
        run_dir=f"{folder}/run",
    )

robot = Joint(angle=0.9)
with Runner(robot, policy, Guards.displacements(1, rate=0.5), LoopSettings(rate=RATE)) as runner:
    report = runner.run(ticks=60)  # three seconds against the wall clock
print(report.sentence())
print(f"The angle began at 0.90 and ends at {robot.angle:.2f}; the robot was told to stop: {robot.stopped}.")
