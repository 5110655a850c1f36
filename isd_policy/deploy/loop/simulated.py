"""A simulated task as a robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_envs.gym_env import SimulatedTask
from isd_envs.spec import EnvSpec, Spec
from isd_policy.actions import POSE
from isd_policy.deploy.loop.clock import Clock
from isd_policy.deploy.loop.guards import Box, Guards
from isd_policy.deploy.loop.robot import Stamped


class SimulatedRobot:
    """One control step of the simulator for every action, at whatever rate the loop's clock gives them.

    Episode i starts from the stream (seed, "run", i); `max_steps` control steps or a success end it. successes, scores
    (the best of each episode) and lengths are of the episodes begun so far; actions are those of the present one.
    """

    def __init__(self, spec: Spec, clock: Clock, max_steps: int, seed: int) -> None:
        self.env = SimulatedTask(**spec.to_dict())
        self.clock, self.max_steps, self.seed = clock, max_steps, seed
        self.scores: list[float] = []
        self.lengths: list[int] = []
        self.successes = 0
        self._start(seed)
        self.env.step(np.clip(np.zeros(spec.definition.action_size), *spec.action_range))  # compiles what is compiled

    def reset(self) -> None:
        """Begins the next episode. May take long."""
        self._start(seeds.derive(self.seed, "run", len(self.scores)))
        self.scores.append(0.0)
        self.lengths.append(0)

    def _start(self, seed: int) -> None:
        self._obs, _ = self.env.reset(seed=seed)
        self._over = False
        self.actions: list[np.ndarray] = []

    def read(self) -> Stamped:
        """The state now: between two actions nothing moves."""
        return Stamped(self._obs, self.clock.now())

    def write(self, action: np.ndarray) -> None:
        self._obs, score, self._over, _, info = self.env.step(action)
        self.actions.append(action)
        self.scores[-1] = max(self.scores[-1], score)
        self.lengths[-1] += 1
        self.successes += info["success"]

    def stop(self) -> None:
        """A simulator stands still when nobody steps it."""

    def ended(self) -> bool:
        """Whether the episode is over."""
        return self._over or self.lengths[-1] >= self.max_steps

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


def guards_of(spec: Spec, rate: float | None = None, workspace: Sequence[Sequence[float]] | None = None) -> Guards:
    """The guards of a simulated robot: its range, and where given the largest change of a number from tick to tick and
    the workspace's low and high corner (m). Raises `InputError` for a workspace where there is not one arm.
    """
    size = spec.definition.action_size
    box = None
    if workspace is not None:
        if not isinstance(spec, EnvSpec) or size != POSE or np.shape(workspace) != (2, 3):
            raise InputError(
                f"workspace={workspace}: expected [[x, y, z], [x, y, z]] (m), the corners of a box for a single arm; "
                f"{spec.definition.title} takes {size} numbers an action."
            )
        low, high = np.asarray(workspace, np.float64)
        delta = spec.action_mode == "delta"
        box = Box(low, high, spec.position_scale, ("robot0_eef_pos",)) if delta else Box(low, high)
    if spec.action_mode == "delta":
        return Guards.displacements(size, rate, box)
    return Guards.positions(*spec.action_range, rate, box)


def jerk(actions: np.ndarray, action_mode: str) -> float:
    """Root mean square of the third difference of the commanded position, [n, Da] -> action units per tick^3.

    A displacement is the first difference of a position. Only positions count: the first three numbers of each arm of
    seven, and all numbers of another robot. NaN for fewer than four actions.
    """
    size = actions.shape[1]
    moved = actions.reshape(len(actions), -1, POSE)[..., :3] if size % POSE == 0 else actions[:, None]
    third = np.diff(moved, n=2 if action_mode == "delta" else 3, axis=0)
    return float(np.sqrt((third**2).sum(-1).mean())) if len(actions) > 3 else float("nan")
