"""From a trained policy to a robot: bundles, exported samplers, the control loop, the server and its client.

A step of the way is a room: `bundle` and `export` write folders, `loop` drives a robot, `serve` answers a `client`.
"""

from isd_policy.deploy.loop.guards import Box, Guards
from isd_policy.deploy.loop.robot import FakeRobot, Robot, Stamped
from isd_policy.deploy.loop.runner import Runner
from isd_policy.deploy.loop.settings import LoopSettings

__all__ = ["Box", "FakeRobot", "Guards", "LoopSettings", "Robot", "Runner", "Stamped"]
