"""What every scripted expert is: a closed-loop behaviour on the observation, with Gaussian action noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES, TYPE, build, listed, role
from isd_envs.engines.engine import Observation


@role("expert", "experts", given=("noise", "rng"))
class Expert(ABC):
    """One episode of a scripted behaviour. A member of the role has the name of its task.

    noise: standard deviation of the Gaussian noise on the numbers `noisy` of each action, in action units.
    """

    noisy: slice | np.ndarray = slice(6)
    """What of an action takes noise: the hand's pose, and not the gripper."""

    def __init__(self, noise: float, rng: np.random.Generator) -> None:
        self.noise, self.rng = noise, rng
        self.phase = 0
        self.waited = 0

    def act(self, observation: Observation) -> tuple[np.ndarray, np.ndarray]:
        """The action to execute and the one that the expert means, [Da] in [-1, 1] each.

        The second is the label of DART (arXiv 1703.09327): noise leads the recording off the expert's own states, and
        what is learned there is the correction and not the noise.
        """
        intended = self.decide(observation)
        action = intended.copy()
        action[self.noisy] += self.rng.normal(0.0, self.noise, action[self.noisy].shape)
        return np.clip(action, -1.0, 1.0), np.clip(intended, -1.0, 1.0)

    @abstractmethod
    def decide(self, observation: Observation) -> np.ndarray:
        """The action without noise; moves on to the next phase where its condition holds."""

    def advance(self) -> None:
        """Enters the next phase."""
        self.phase += 1
        self.waited = 0

    def wait(self, steps: int) -> None:
        """Enters the next phase after so many steps in this one."""
        self.waited += 1
        if self.waited > steps:
            self.advance()


def check_expert(task: str, options: Mapping[str, Any] | None = None) -> None:
    """Raises `InputError` for a task without a scripted expert, and for options that its expert does not take."""
    make_expert(task, options or {}, 0.0, np.random.default_rng(0))


def make_expert(task: str, options: Mapping[str, Any], noise: float, rng: np.random.Generator) -> Expert:
    """The task's expert for one episode. options: its own fields."""
    known = ROLES["expert"].names()
    if task not in known:
        raise InputError(
            f"There is no scripted expert for {task!r}; experts exist for {listed(known)}. Demonstrations by a "
            "function of your own: isd_envs.collect(spec, policy, ...)."
        )
    expert: Expert = build("expert", {TYPE: task, **options}, where="expert", noise=noise, rng=rng)
    return expert
