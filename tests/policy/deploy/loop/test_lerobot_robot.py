"""LeRobot's robots in the loop, by a robot with the methods that LeRobot's have."""

import sys

import numpy as np
import pytest

import isd_policy
from isd_core.support.errors import InputError
from isd_core.support.files import read_json
from isd_policy.deploy import LeRobotRobot, LoopSettings, Runner, lerobot
from isd_policy.deploy.loop.lerobot_robot import joint_guards
from isd_policy.observations import ObservationSchema

JOINTS = ("pan.pos", "lift.pos", "gripper.pos")


class Dummy:
    """Three joints that go where they are told, and a camera."""

    def __init__(self, joints=JOINTS, camera=(8, 8, 3)):
        self.joints, self.camera = dict.fromkeys(joints, 0.0), camera
        self.sent, self.disconnects, self.connected = [], 0, False

    @property
    def observation_features(self):
        return dict.fromkeys(self.joints, float) | {"top": self.camera}

    @property
    def action_features(self):
        return dict.fromkeys(self.joints, float)

    def connect(self):
        self.connected = True

    def get_observation(self):
        if not self.connected:
            raise ConnectionError("not connected")
        return {**self.joints, "top": np.zeros(self.camera, np.uint8)}

    def send_action(self, action):
        self.joints |= action
        self.sent.append(action)
        return action

    def disconnect(self):
        self.disconnects += 1
        self.connected = False


@pytest.fixture
def bundle(tmp_path):
    """A policy of three joints and a camera, trained on data whose numbers have names in another order."""
    rng = np.random.default_rng(0)
    state = rng.uniform(-1, 1, (60, 3))
    made = isd_policy.Demonstrations.from_arrays(
        observations={"state": state, "top": np.zeros((60, 8, 8, 3), np.uint8)},
        actions=state / 2,
        episode_ends=range(10, 61, 10),
        rate=50,
        labels={"state": JOINTS[::-1], "actions": JOINTS[::-1]},
    )
    pytest.importorskip("torchvision", reason="the pictures extra is not installed")
    policy = isd_policy.train(
        made,
        network="unet1d_small",
        steps=2,
        run_dir=tmp_path / "run",
        **{"network.widths": [8, 16], "trainer": {"batch_size": 8, "device": "cpu"}},
    )
    return policy.save(tmp_path / "policy.isd")


def test_a_policy_drives_it_and_it_is_disconnected(bundle):
    policy, robot = isd_policy.load(bundle), Dummy()
    robot.connect()
    settings = LoopSettings(rate=50, warm_up=0.0)
    with Runner(LeRobotRobot.of(policy, robot), policy, joint_guards(policy, 0.05), settings) as runner:
        report = runner.run(ticks=20)
    assert report.fault is None and len(robot.sent) == 20 and robot.disconnects == 1
    assert all(set(action) == set(JOINTS) for action in robot.sent)
    steps = np.diff([[action[name] for name in JOINTS] for action in robot.sent], axis=0)
    assert np.abs(steps).max() <= 0.05 + 1e-6


def test_numbers_go_by_their_names(bundle):
    policy, robot = isd_policy.load(bundle), Dummy()
    robot.connect()
    robot.joints |= {"pan.pos": 1.0, "lift.pos": 2.0, "gripper.pos": 3.0}
    adapter = LeRobotRobot.of(policy, robot)
    assert adapter.read().obs["state"].tolist() == [3.0, 2.0, 1.0]
    adapter.write(np.array([0.3, 0.2, 0.1]))
    assert robot.joints == {"pan.pos": 0.1, "lift.pos": 0.2, "gripper.pos": 0.3}
    adapter.stop()
    adapter.stop()
    assert robot.disconnects == 1
    with pytest.raises(RuntimeError, match="was stopped"):
        adapter.write(np.zeros(3))


def test_a_disconnect_that_fails_is_tried_again():
    class Stuck(Dummy):
        def disconnect(self):
            super().disconnect()
            if self.disconnects == 1:
                raise OSError("the bus is busy")

    robot = Stuck()
    adapter = LeRobotRobot(robot, ObservationSchema({"state": (3,)}), 3)
    with pytest.raises(OSError, match="busy"):
        adapter.stop()
    adapter.stop()
    assert robot.disconnects == 2


@pytest.mark.parametrize(
    "robot, message",
    [
        (
            Dummy(joints=("pan.pos", "lift.pos")),
            r"has no gripper\.pos, which the observation `state`",
        ),
        (Dummy(camera=(16, 8, 3)), r"pictures `top` of \[8, 8, 3\], and the robot's cameras are {'top': \[16, 8, 3\]}"),
    ],
)
def test_a_robot_that_does_not_fit_is_refused_before_it_moves(bundle, robot, message):
    with pytest.raises(InputError, match=message):
        LeRobotRobot.of(isd_policy.load(bundle), robot)
    assert not robot.sent


def test_without_names_the_sizes_have_to_fit():
    with pytest.raises(InputError, match=r"The action of the policy has 2 numbers, and the robot's are pan\.pos"):
        LeRobotRobot(Dummy(), ObservationSchema({"state": (3,)}), 2)


def test_the_command_takes_the_rate_of_the_data(bundle, tmp_path, capsys, monkeypatch):
    robot = Dummy()
    monkeypatch.setattr(lerobot, "make_robot", lambda fields: robot if fields == {"type": "dummy"} else None)
    words = [f"checkpoint={bundle}", "robot={type: dummy}", "seconds=0.2", f"out={tmp_path / 'report.json'}"]
    assert lerobot.main.run(*words) == 0
    assert len(robot.sent) == 10 and robot.disconnects == 1
    assert read_json(tmp_path / "report.json")["rate"] == 50
    assert "disconnected" in capsys.readouterr().out


def test_without_lerobot_the_command_says_so(bundle, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "lerobot", None)
    assert lerobot.main.run(f"checkpoint={bundle}", "robot={type: so101_follower}") == 2
    assert "needs the package lerobot" in capsys.readouterr().err
