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

    Episode i starts from the stream (seed, "run", i); `max_steps` control steps or a success end it. outcomes (whether
    each succeeded), scores (the best of each episode) and lengths are of the episodes begun so far; actions are those
    of the present one.
    """

    def __init__(self, spec: Spec, clock: Clock, max_steps: int, seed: int) -> None:
        self.env = SimulatedTask(**spec.to_dict())
        self.clock, self.max_steps, self.seed = clock, max_steps, seed
        self.scores: list[float] = []
        self.lengths: list[int] = []
        self.outcomes: list[bool] = []
        self._start(seed)
        self.env.step(np.clip(np.zeros(spec.definition.action_size), *spec.action_range))  # compiles what is compiled

    def reset(self) -> None:
        """Begins the next episode. May take long."""
        self._start(seeds.derive(self.seed, "run", len(self.scores)))
        self.scores.append(0.0)
        self.lengths.append(0)
        self.outcomes.append(False)

    @property
    def successes(self) -> int:
        """Episodes that succeeded."""
        return sum(self.outcomes)

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
        self.outcomes[-1] |= bool(info["success"])

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


def position_changes(actions: np.ndarray, action_mode: str, order: int) -> np.ndarray:
    """The differences of an order of the commanded position, [n - order, ...] for positions and one more for
    displacements, which are the first difference of a position: actions [n, Da] -> [*, arms, numbers].

    Only positions count: the first three numbers of each arm of seven, and all numbers of another robot.
    """
    size = actions.shape[1]
    moved = actions.reshape(len(actions), -1, POSE)[..., :3] if size % POSE == 0 else actions[:, None]
    return np.diff(moved, n=order - 1 if action_mode == "delta" else order, axis=0)


def jump(actions: np.ndarray, borders: Sequence[int], action_mode: str) -> float:
    """Root mean square of the second difference of the commanded position at the borders of chunks, [n, Da] and the
    numbers of the actions that begin one -> action units per tick^2. NaN without a border.
    """
    second = position_changes(actions, action_mode, order=2)
    # the change at action k has the number k - 1 among displacements and k - 2 among positions
    at = [k - (len(actions) - len(second)) for k in borders if k < len(actions)]
    found = second[[k for k in at if k >= 0]]
    return float(np.sqrt((found**2).sum(-1).mean())) if len(found) else float("nan")


def jerk(actions: np.ndarray, action_mode: str) -> float:
    """Root mean square of the third difference of the commanded position, [n, Da] -> action units per tick^3.

    NaN for fewer than four actions.
    """
    third = position_changes(actions, action_mode, order=3)
    return float(np.sqrt((third**2).sum(-1).mean())) if len(actions) > 3 else float("nan")
