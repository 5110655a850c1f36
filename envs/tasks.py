"""The five robomimic tasks: names, robots, step caps and observation keys."""

from __future__ import annotations

from dataclasses import dataclass

from isd_core.errors import InputError

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


@dataclass(frozen=True)
class Task:
    """One robosuite task. `object_size` is the length of the observation `object`; `max_steps` the usual cap."""

    name: str
    title: str
    robosuite_name: str
    robots: int
    object_size: int
    max_steps: int

    @property
    def gymnasium_id(self) -> str:
        return f"isd/{self.title}-v0"

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


TASKS = {
    task.name: task
    for task in (
        Task("lift", "Lift", "Lift", robots=1, object_size=10, max_steps=400),
        Task("can", "Can", "PickPlaceCan", robots=1, object_size=14, max_steps=400),
        Task("square", "Square", "NutAssemblySquare", robots=1, object_size=14, max_steps=400),
        Task("tool_hang", "ToolHang", "ToolHang", robots=1, object_size=44, max_steps=700),
        Task("transport", "Transport", "TwoArmTransport", robots=2, object_size=41, max_steps=700),
    )
}


def task_named(name: str) -> Task:
    """The task; `InputError` lists the known ones when there is no such task."""
    try:
        return TASKS[name]
    except KeyError:
        raise InputError(f"There is no task called {name!r}; known tasks: {', '.join(TASKS)}.") from None


def task_of_robosuite(robosuite_name: str) -> Task:
    """The task that robosuite calls `robosuite_name`, e.g. `PickPlaceCan` -> can."""
    for task in TASKS.values():
        if task.robosuite_name == robosuite_name:
            return task
    known = ", ".join(task.robosuite_name for task in TASKS.values())
    raise InputError(f"The robosuite environment {robosuite_name!r} is not one of this package's: {known}.")
