"""Simulated manipulation tasks: gymnasium environments, scripted experts, demonstrations and vectorised rollouts.

Importing this package registers `isd/Lift-v0`, `isd/Can-v0`, `isd/Square-v0`, `isd/ToolHang-v0`, `isd/Transport-v0`
and `isd/PushT-v0` with gymnasium, and declares the role `task`, whose members are gymnasium environments. The
simulators are imported when the first environment is made.
"""

from gymnasium.envs.registration import register, registry

from envs import gym_env as gym_env  # registers the tasks
from envs.engines import llvm
from envs.tasks import TASKS

llvm.prepare()

for _task in TASKS.values():
    if _task.gymnasium_id not in registry:
        register(
            id=_task.gymnasium_id,
            entry_point="envs.gym_env:SimulatedTask",
            kwargs={"task": _task.name},
            max_episode_steps=_task.max_steps,
        )
