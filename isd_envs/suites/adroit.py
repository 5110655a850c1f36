"""Adroit: a hand of 24 joints on an arm opens a door, hammers a nail, turns a pen, moves a ball (gymnasium-robotics).

arXiv 1709.10087. The observation is `state`; success is the environment's own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium

from isd_core.support.registry import register
from isd_envs.suites.suite import SuiteTask, import_suite

TASKS = ("door", "hammer", "pen", "relocate")
INSTALL = "pip install 'isd-flow[adroit]'"


class AdroitTask(SuiteTask):
    """A task of Adroit with sparse rewards."""

    metadata: ClassVar[dict[str, Any]] = SuiteTask.metadata | {"render_fps": 100}  # type: ignore[misc]
    max_episode_steps = 200
    camera = "fixed"

    def make_inner(self) -> Any:
        import_suite("gymnasium_robotics", INSTALL)
        name = f"AdroitHand{self.title.capitalize()}Sparse-v1"
        return gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True)


for _title in TASKS:
    _members = {"title": _title, "__module__": __name__, "__doc__": f"Adroit's {_title}."}
    register("task", f"adroit/{_title}")(type(f"Adroit{_title.capitalize()}", (AdroitTask,), _members))
