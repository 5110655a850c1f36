"""From a trained policy to a robot: bundles, exported samplers, the control loop, the server and its client.

A step of the way is a module: `bundle` and `export` write files, `runner` drives a robot, `serve` answers clients.
"""

from isd_policy.deploy.fake import FakeRobot
from isd_policy.deploy.guards import Box, Guards
from isd_policy.deploy.robot import Robot, Stamped
from isd_policy.deploy.runner import Runner
from isd_policy.deploy.settings import LoopSettings

__all__ = ["Box", "FakeRobot", "Guards", "LoopSettings", "Robot", "Runner", "Stamped"]
