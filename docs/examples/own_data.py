"""A policy from arrays: no file, no simulator."""

import tempfile
from pathlib import Path

import numpy as np

import isd_policy

# Fifty episodes of a controller that moves a point to the middle of the plane.
rng = np.random.default_rng(0)
positions, velocities, ends = [], [], []
for _ in range(50):
    position = rng.uniform(-1, 1, 2)
    for _ in range(20):
        velocity = -0.2 * position
        positions.append(position)
        velocities.append(velocity)
        position = position + velocity
    ends.append(len(positions))

demos = isd_policy.Demonstrations.from_arrays(
    observations={"position": np.array(positions)}, actions=np.array(velocities), episode_ends=ends, rate=20
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
    policy.save(Path(folder) / "policy.isd")
    policy = isd_policy.load(Path(folder) / "policy.isd")

policy.reset(seed=0)
position = np.array([0.8, -0.5])
for _ in range(8):
    for velocity in policy.act({"position": position}):  # four actions for one network evaluation
        position = position + velocity
print(f"The point began 0.94 from the middle and ends {np.linalg.norm(position):.2f} from it.")
