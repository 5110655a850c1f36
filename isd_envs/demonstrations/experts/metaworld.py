"""The scripted policies that MetaWorld brings along."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np

from isd_core.support.registry import register
from isd_envs.demonstrations.experts.base import Expert
from isd_envs.engines.engine import Observation
from isd_envs.suites.metaworld import INSTALL, TASKS
from isd_envs.suites.suite import import_suite


class MetaWorldExpert(Expert):
    """A scripted policy of MetaWorld; noise is added to the hand's displacement."""

    noisy = slice(3)
    title: ClassVar[str]

    def __init__(self, noise: float, rng: np.random.Generator) -> None:
        super().__init__(noise, rng)
        self.policy = import_suite("metaworld.policies", INSTALL).ENV_POLICY_MAP[self.title]()

    def decide(self, observation: Observation) -> np.ndarray:
        with warnings.catch_warnings():  # it warns of displacements beyond 1, which are clipped
            warnings.simplefilter("ignore")
            return np.asarray(self.policy.get_action(observation["state"]), np.float64)


for _title in TASKS:
    _members = {"title": _title, "__module__": __name__, "__doc__": f"MetaWorld's policy for {_title}."}
    register("expert", f"metaworld/{_title}")(type(f"MetaWorldExpert[{_title}]", (MetaWorldExpert,), _members))
