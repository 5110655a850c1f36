"""A policy in an environment of one's own: any gymnasium environment."""

import tempfile

import gymnasium
import numpy as np
from gymnasium import spaces

import isd_policy


class Reach(gymnasium.Env):
    """A point that has to come to the middle of the plane; `info["success"]` says when it is there."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.place.copy(), {}

    def step(self, action):
        self.place = np.clip(self.place + 0.2 * action, -1, 1).astype(np.float32)
        return self.place.copy(), 0.0, False, False, {"success": bool(np.linalg.norm(self.place) < 0.15)}


# Thirty demonstrations by a controller that knows the way.
env = Reach()
places, actions, ends = [], [], []
for episode in range(30):
    place, _ = env.reset(seed=episode)
    for _ in range(20):
        action = -place
        places.append(place)
        actions.append(action)
        place, *_ = env.step(action)
    ends.append(len(places))

demos = isd_policy.Demonstrations.from_arrays(
    observations={"state": np.array(places)}, actions=np.array(actions), episode_ends=ends, rate=10
)
with tempfile.TemporaryDirectory() as folder:
    small = isd_policy.preset("network", "unet1d_small")(widths=[16, 32])
    policy = isd_policy.train(demos, network=small, trainer="demo", steps=300, run_dir=f"{folder}/run")
    result = isd_policy.evaluate(policy, env=Reach, nfe=[1], episodes=50, seed=1000, max_steps=40)
print(result)
