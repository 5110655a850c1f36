"""Simulated manipulation tasks: gymnasium environments, scripted experts, demonstrations and vectorised rollouts.

Importing this package registers `isd/Lift-v0`, `isd/Can-v0`, `isd/Square-v0`, `isd/ToolHang-v0`, `isd/Transport-v0`
and `isd/PushT-v0` with gymnasium, and declares the roles `task`, whose members are gymnasium environments, and
`expert`. The simulators are imported when the first environment is made.
"""

from typing import TYPE_CHECKING

from gymnasium.envs.registration import register as _register
from gymnasium.envs.registration import registry as _registry

from isd_core.support import lazy
from isd_envs import gym_env as gym_env  # registers the tasks
from isd_envs import suites as suites  # registers those of other packages, without importing them
from isd_envs.demonstrations import experts as experts  # registers the experts
from isd_envs.engines import llvm as _llvm
from isd_envs.tasks import TASKS as _TASKS

if TYPE_CHECKING:
    from isd_core.support.registry import register as register
    from isd_envs.demonstrations.collecting import collect as collect
    from isd_envs.engines.gym.spec import GymSpec as GymSpec
    from isd_envs.engines.gym.spec import spec_of_factory as spec_of_factory
    from isd_envs.engines.gym.success import SuccessRule as SuccessRule
    from isd_envs.rollouts.rollout import rollout as rollout
    from isd_envs.spec import EnvSpec as EnvSpec

__getattr__, __dir__, __all__ = lazy.exports(__name__)

_llvm.prepare()

for _task in _TASKS.values():
    if _task.gymnasium_id not in _registry:
        _register(
            id=_task.gymnasium_id,
            entry_point="isd_envs.gym_env:SimulatedTask",
            kwargs={"task": _task.name},
            max_episode_steps=_task.max_steps,
        )
