"""MetaWorld: 50 tasks of a Sawyer arm with four actions (arXiv 1910.10897), with the goal in the observation.

The package's resets ignore their seed, so the start is drawn here from a generator that the seed has set.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from isd_core.support.registry import register
from isd_envs.suites.suite import SuiteTask, import_suite

TASKS = (
    *("assembly-v3", "basketball-v3", "bin-picking-v3", "box-close-v3", "button-press-topdown-v3"),
    *("button-press-topdown-wall-v3", "button-press-v3", "button-press-wall-v3", "coffee-button-v3", "coffee-pull-v3"),
    *("coffee-push-v3", "dial-turn-v3", "disassemble-v3", "door-close-v3", "door-lock-v3", "door-open-v3"),
    *("door-unlock-v3", "drawer-close-v3", "drawer-open-v3", "faucet-close-v3", "faucet-open-v3", "hammer-v3"),
    *("hand-insert-v3", "handle-press-side-v3", "handle-press-v3", "handle-pull-side-v3", "handle-pull-v3"),
    *("lever-pull-v3", "peg-insert-side-v3", "peg-unplug-side-v3", "pick-out-of-hole-v3", "pick-place-v3"),
    *("pick-place-wall-v3", "plate-slide-back-side-v3", "plate-slide-back-v3", "plate-slide-side-v3"),
    *("plate-slide-v3", "push-back-v3", "push-v3", "push-wall-v3", "reach-v3", "reach-wall-v3", "shelf-place-v3"),
    *("soccer-v3", "stick-pull-v3", "stick-push-v3", "sweep-into-v3", "sweep-v3", "window-close-v3"),
    "window-open-v3",
)
INSTALL = (
    "pip install --no-deps metaworld==3.1.1, beside isd-flow[sim]. (Its own requirement, mujoco 3.3.0 exactly, is not "
    "that of robosuite's tasks; it runs with theirs.)"
)


class MetaWorldTask(SuiteTask):
    """A task of MetaWorld whose starts and goals follow from the seed."""

    metadata: ClassVar[dict[str, Any]] = SuiteTask.metadata | {"render_fps": 80}  # type: ignore[misc]
    max_episode_steps = 500
    camera = "corner2"

    def make_inner(self) -> Any:
        package = import_suite("metaworld.env_dict", INSTALL)
        inner = package.ENV_CLS_MAP[self.title]()
        inner._partially_observable = False  # the goal is part of the observation
        del inner.sawyer_observation_space  # it is cached, without the goal's range
        inner._freeze_rand_vec = False  # each reset draws a start,
        inner.seeded_rand_vec = True  # from the environment's generator and not from numpy's global one
        inner._set_task_called = True
        inner.observation_space = inner.sawyer_observation_space
        return inner

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None:
            self.inner.seed(seed)
        observation, info = self.inner.reset()
        return observation, info

    def render(self) -> np.ndarray:
        return super().render()[::-1, ::-1]  # its cameras are mounted head down


for _title in TASKS:
    _members = {"title": _title, "__module__": __name__, "__doc__": f"MetaWorld's {_title}."}
    register("task", f"metaworld/{_title}")(type(f"MetaWorld[{_title}]", (MetaWorldTask,), _members))
