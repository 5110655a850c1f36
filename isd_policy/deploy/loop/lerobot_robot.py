"""A robot of LeRobot's in the control loop."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from isd_core.support.errors import InputError
from isd_policy.backend import PolicyBackend
from isd_policy.deploy.loop.clock import Clock, MonotonicClock
from isd_policy.deploy.loop.guards import Guards
from isd_policy.deploy.loop.robot import Stamped
from isd_policy.observations import ObservationSchema
from isd_policy.policy import Policy

ACTIONS = "actions"


class TheirRobot(Protocol):
    """What is asked of LeRobot's `Robot`. Features: name -> float for a number, (height, width, 3) for a camera."""

    @property
    def observation_features(self) -> Mapping[str, Any]: ...

    @property
    def action_features(self) -> Mapping[str, Any]: ...

    def get_observation(self) -> Mapping[str, Any]: ...

    def send_action(self, action: dict[str, Any]) -> Any: ...

    def disconnect(self) -> None: ...


class LeRobotRobot:
    """Drives a connected robot of LeRobot's: `read`, `write` and `stop` over its own methods.

    schema: what the policy sees. labels: key -> the names of its numbers among the robot's, and `actions` -> those of
    the action, as a LeRobot data set has them. A key without labels takes all of the robot's numbers, in its order;
    pictures are the robot's cameras under the policy's keys. `stop` disconnects, which lets most arms go limp, and
    nothing is written after it.

    Raises `InputError` where the robot lacks a number or a camera, or has them in another size.
    """

    def __init__(
        self,
        robot: TheirRobot,
        schema: ObservationSchema,
        action_size: int,
        labels: Mapping[str, Sequence[str]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.robot, self.schema = robot, schema
        self.clock: Clock = MonotonicClock() if clock is None else clock
        labels = labels or {}
        seen, taken = robot.observation_features, robot.action_features
        self._names = {
            key: _names(labels.get(key), seen, schema.shapes[key][0], f"the observation `{key}`")
            for key in schema.numbers
        }
        self._actions = _names(labels.get(ACTIONS), taken, action_size, "the action")
        for key in schema.pictures:
            if key not in seen or tuple(seen[key]) != tuple(schema.shapes[key]):
                cameras = {name: list(shape) for name, shape in seen.items() if isinstance(shape, tuple | list)}
                raise InputError(
                    f"The policy sees pictures `{key}` of {list(schema.shapes[key])}, and the robot's cameras are "
                    f"{cameras or 'none'}. Name and set up the camera as it was recorded."
                )
        self._stopped = threading.Event()
        self._stopping = threading.Lock()

    @classmethod
    def of(cls, policy: PolicyBackend, robot: TheirRobot, clock: Clock | None = None) -> LeRobotRobot:
        """For a policy from disk, with the names that its data had."""
        schema = policy.source.config["schema"] if policy.source is not None else {}
        size = int(schema.get("action", len(robot.action_features)))
        return cls(robot, policy.schema, size, schema.get("labels"), clock)

    def read(self) -> Stamped:
        """The time is that after the last camera has answered: the observation is no newer than that."""
        found = self.robot.get_observation()
        obs: dict[str, np.ndarray] = {
            key: np.array([float(found[name]) for name in names]) for key, names in self._names.items()
        }
        obs |= {key: np.asarray(found[key]) for key in self.schema.pictures}
        return Stamped(obs, self.clock.now())

    def write(self, action: np.ndarray) -> None:
        """Raises `RuntimeError` after `stop`."""
        if self._stopped.is_set():
            raise RuntimeError("the robot was stopped and is disconnected")
        self.robot.send_action(dict(zip(self._actions, map(float, action), strict=True)))

    def stop(self) -> None:
        """Disconnects at the first call; a call that fails is made again at the next."""
        with self._stopping:
            if not self._stopped.is_set():
                self._stopped.set()
                try:
                    self.robot.disconnect()
                except BaseException:
                    self._stopped.clear()
                    raise


def joint_guards(policy: PolicyBackend, rate: float | None = None) -> Guards:
    """Guards of a robot whose actions are places of joints: the range of the training data, and the last action holds.

    rate: the largest change of a number from tick to tick. Raises `InputError` for an export, which does not say the
    range.
    """
    if not isinstance(policy, Policy):
        raise InputError("The range of the actions is not told by an export: give a bundle, run or checkpoint.")
    limits = policy.normaliser.limits
    low, high = (bound.cpu().numpy().astype(np.float64) for bound in (limits.low, limits.high))
    limit = None if rate is None else np.full(len(low), float(rate))
    return Guards(low, high, np.full(len(low), np.nan), limit)


def _names(labels: Sequence[str] | None, features: Mapping[str, Any], size: int, what: str) -> tuple[str, ...]:
    """The robot's names of some numbers of the policy, in the policy's order."""
    numbers = [name for name, kind in features.items() if not isinstance(kind, tuple | list)]
    names = list(numbers if labels is None else labels)
    if absent := [name for name in names if name not in numbers]:
        raise InputError(
            f"The robot has no {absent[0]}, which {what} of the policy needs; it has {', '.join(numbers) or 'none'}."
        )
    if len(names) != size:
        raise InputError(
            f"{what[0].upper()}{what[1:]} of the policy has {size} numbers, and the robot's are {', '.join(names)}. "
            "Train on data of this robot, or name its numbers: labels={key: [name, ...]}."
        )
    return tuple(names)
