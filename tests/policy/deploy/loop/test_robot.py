"""The robot without a body."""

import numpy as np

from isd_policy.deploy.loop.robot import FakeRobot
from isd_policy.observations import ObservationSchema


def test_fake_robot_observes_the_schema():
    schema = ObservationSchema({"object": (3,), "agentview_image": (4, 5, 3)})
    robot = FakeRobot(schema)
    obs = robot.read().obs
    assert schema.row(obs)["agentview_image"].dtype == np.uint8
    robot.write(np.ones(2))
    robot.stop()
    assert (len(robot.written), robot.stops) == (1, 1)
