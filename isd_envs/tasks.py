"""The tasks: robomimic's five in robosuite, and Push-T; names, step caps and observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isd_core.support.errors import InputError

ROBOT_KEYS = {
    "joint_pos": 7,
    "joint_pos_cos": 7,
    "joint_pos_sin": 7,
    "joint_vel": 7,
    "eef_pos": 3,
    "eef_quat": 4,
    "eef_quat_site": 4,
    "gripper_qpos": 2,
    "gripper_qvel": 2,
}
"""Proprioception of one robot under robomimic's names (without the `robot0_` prefix) and its sizes."""

GYMNASIUM, FUNCTION = "gymnasium", "function"
"""The engine of an environment of gymnasium, by name or from a user's function; the `type` of its data's `env_args`."""
GYM_OF_ROBOMIMIC = 2
"""robomimic's `type` for environments of gym."""


@dataclass(frozen=True)
class Task:
    """A task. `max_steps` is the usual cap; `graded` tells that an episode has a score between failure and success."""

    name: str
    title: str
    max_steps: int
    graded: bool = False

    @property
    def gymnasium_id(self) -> str:
        return f"isd/{self.title.replace('-', '')}-v0"

    @property
    def data_name(self) -> str:
        """What data files call the environment."""
        return self.title

    @property
    def action_size(self) -> int:
        """Da, the length of an action."""
        raise NotImplementedError

    @property
    def observation_sizes(self) -> dict[str, int]:
        """The keys of the numbers that the environment offers, and the length of each."""
        raise NotImplementedError


@dataclass(frozen=True)
class RobosuiteTask(Task):
    """One robosuite task. `object_size` is the length of the observation `object`."""

    robosuite_name: str = ""
    robots: int = 1
    object_size: int = 0

    @property
    def data_name(self) -> str:
        return self.robosuite_name

    @property
    def action_size(self) -> int:
        """Six numbers for the pose and one for the gripper, for each robot."""
        return 7 * self.robots

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Robomimic's low-dimensional observation keys and the length of each."""
        sizes = {"object": self.object_size}
        for robot in range(self.robots):
            sizes |= {f"robot{robot}_{key}": size for key, size in ROBOT_KEYS.items()}
        return sizes


@dataclass(frozen=True)
class PushTTask(Task):
    """Push-T: a disc pushes a T-shaped block on its place in the plane. Pixels of a 512 x 512 world."""

    @property
    def action_size(self) -> int:
        """Where the disc is to go."""
        return 2

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Places in pixels; the block's angle as sine and cosine; nine points that are fixed to the block."""
        return {"agent_pos": 2, "block_pos": 2, "block_angle": 2, "keypoints": 18}


ROBOSUITE_TASKS = {
    task.name: task
    for task in (
        RobosuiteTask("lift", "Lift", 400, robosuite_name="Lift", object_size=10),
        RobosuiteTask("can", "Can", 400, robosuite_name="PickPlaceCan", object_size=14),
        RobosuiteTask("square", "Square", 400, robosuite_name="NutAssemblySquare", object_size=14),
        RobosuiteTask("tool_hang", "ToolHang", 700, robosuite_name="ToolHang", object_size=44),
        RobosuiteTask("transport", "Transport", 700, robosuite_name="TwoArmTransport", robots=2, object_size=41),
    )
}
PUSHT = PushTTask("pusht", "Push-T", 300, graded=True)
TASKS: dict[str, Task] = {**ROBOSUITE_TASKS, PUSHT.name: PUSHT}


OWN = "own"
"""The task of demonstrations that no simulator here belongs to."""


def task_named(name: str) -> Task:
    """The task; `InputError` lists the known ones when there is no such task."""
    try:
        return TASKS[name]
    except KeyError:
        raise InputError(f"There is no task called {name!r}; known tasks: {', '.join(TASKS)}.") from None


def is_graded(environment: Mapping[str, Any]) -> bool:
    """Whether an environment's episodes have scores between failure and success. environment: a spec's `to_dict`."""
    task = TASKS.get(environment["task"])
    return environment.get("score") is not None if task is None else task.graded


def task_of_data(env_name: str) -> Task | None:
    """The task whose environment data files call `env_name`, e.g. `PickPlaceCan` -> can; None for another's."""
    return next((task for task in TASKS.values() if task.data_name == env_name), None)


def robosuite_task(name: str) -> RobosuiteTask:
    """The task, which must be one of robosuite's."""
    task = task_named(name)
    if not isinstance(task, RobosuiteTask):
        raise InputError(f"{task.title} is not simulated by robosuite; its tasks are {', '.join(ROBOSUITE_TASKS)}.")
    return task


def task_of_robosuite(robosuite_name: str) -> RobosuiteTask:
    """The task that robosuite calls `robosuite_name`, e.g. `PickPlaceCan` -> can."""
    for task in ROBOSUITE_TASKS.values():
        if task.robosuite_name == robosuite_name:
            return task
    known = ", ".join(task.robosuite_name for task in ROBOSUITE_TASKS.values())
    raise InputError(f"The robosuite environment {robosuite_name!r} is not one of this package's: {known}.")
