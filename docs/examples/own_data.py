"""A policy from arrays: no file, no simulator."""

import tempfile
from pathlib import Path

import numpy as np

import isd_policy

# Twenty episodes of a point that moves to the middle of the plane.
rng = np.random.default_rng(0)
positions, velocities, ends = [], [], []
for _ in range(20):
    position = rng.uniform(-1, 1, 2)
    for _ in range(40):
        velocity = -0.2 * position + rng.normal(0, 0.01, 2)
        positions.append(position)
        velocities.append(velocity)
        position = position + velocity
    ends.append(len(positions))

demos = isd_policy.Demonstrations.from_arrays(
    observations={"position": np.array(positions)}, actions=np.array(velocities), episode_ends=ends, rate=20
)
with tempfile.TemporaryDirectory() as folder:
    small = isd_policy.preset("network", "unet1d_small")(widths=[16, 32])
    policy = isd_policy.train(demos, network=small, trainer="demo", steps=400, run_dir=f"{folder}/run")
    policy.save(Path(folder) / "policy.isd")
    policy = isd_policy.load(Path(folder) / "policy.isd")

    policy.reset(seed=0)
    position = np.array([0.8, -0.5])
    for _ in range(6):
        for velocity in policy.act({"position": position}):  # eight actions for one network evaluation
            position = position + velocity
    print(f"The point ends {np.linalg.norm(position):.3f} from the middle.")
