"""From a trained policy to a robot: bundles, exported samplers, the control loop, the server and its client.

A step of the way is a room: `bundle` and `export` write folders, `loop` drives a robot, `serve` answers a `client`.
"""

from typing import TYPE_CHECKING

from isd_core.support import lazy

if TYPE_CHECKING:
    from isd_policy.deploy.loop.guards import Box as Box
    from isd_policy.deploy.loop.guards import Guards as Guards
    from isd_policy.deploy.loop.lerobot_robot import LeRobotRobot as LeRobotRobot
    from isd_policy.deploy.loop.robot import FakeRobot as FakeRobot
    from isd_policy.deploy.loop.robot import Robot as Robot
    from isd_policy.deploy.loop.robot import Stamped as Stamped
    from isd_policy.deploy.loop.runner import Runner as Runner
    from isd_policy.deploy.loop.settings import LoopSettings as LoopSettings

__getattr__, __dir__, __all__ = lazy.exports(__name__)
