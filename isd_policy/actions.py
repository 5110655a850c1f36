"""How a robot's action is written for the network: a group of configs (`actions`), and a part of the policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from isd_core.support.errors import InputError
from isd_core.support.registry import register, role
from isd_policy import rotations

POSE = 7  # position (3), rotation vector (3), gripper (1)
SIX_POSE = 10  # position (3), six numbers of the rotation, gripper (1)


@role("representation", "representations")
class ActionRepresentation(ABC):
    """A pair of maps between the robot's actions and the network's."""

    @abstractmethod
    def size(self, robot: int) -> int:
        """The network's size for the robot's; `InputError` where the representation does not apply."""

    @abstractmethod
    def encode(self, actions: Tensor) -> Tensor:
        """[..., robot's size] -> [..., network's size]."""

    @abstractmethod
    def decode(self, actions: Tensor) -> Tensor:
        """[..., network's size] -> [..., robot's size]."""

    @abstractmethod
    def unscaled(self, robot: int) -> Tensor:
        """[network's size] which numbers the normaliser leaves as they are."""

    @abstractmethod
    def bounds(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The range of the robot's actions, ([robot's size], [robot's size]), for a range of the network's."""


@register("representation", "plain")
@dataclass(frozen=True)
class Plain(ActionRepresentation):
    """The robot's own numbers."""

    def size(self, robot: int) -> int:
        return robot

    def encode(self, actions: Tensor) -> Tensor:
        return actions

    def decode(self, actions: Tensor) -> Tensor:
        return actions

    def unscaled(self, robot: int) -> Tensor:
        return torch.zeros(robot, dtype=torch.bool)

    def bounds(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low, high


@register("representation", "six_rotation")
@dataclass(frozen=True)
class SixRotation(ActionRepresentation):
    """Absolute poses with the rotation as six numbers: 7 -> 10 for one arm, 14 -> 20 for two."""

    def size(self, robot: int) -> int:
        if robot % POSE:
            raise InputError(
                f"actions=absolute writes poses of {POSE} numbers (position, rotation vector, gripper) for each arm, "
                f"but these actions have {robot}. Choose actions=recorded, or the key of the absolute actions."
            )
        return robot // POSE * SIX_POSE

    def encode(self, actions: Tensor) -> Tensor:
        poses = actions.unflatten(-1, (-1, POSE))
        six = rotations.six_of_matrix(rotations.matrix_of_vector(poses[..., 3:6]))
        return torch.cat([poses[..., :3], six, poses[..., 6:]], dim=-1).flatten(-2)

    def decode(self, actions: Tensor) -> Tensor:
        poses = actions.unflatten(-1, (-1, SIX_POSE))
        vector = rotations.vector_of_matrix(rotations.matrix_of_six(poses[..., 3:9]))
        return torch.cat([poses[..., :3], vector, poses[..., 9:]], dim=-1).flatten(-2)

    def unscaled(self, robot: int) -> Tensor:
        one = torch.zeros(SIX_POSE, dtype=torch.bool)
        one[3:9] = True
        return one.repeat(self.size(robot) // SIX_POSE)

    def bounds(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """A rotation vector's numbers lie within half a turn."""
        half_turn = torch.full((*low.unflatten(-1, (-1, SIX_POSE)).shape[:-1], 3), torch.pi)
        lowest, highest = (
            torch.cat([pose[..., :3], turn, pose[..., 9:]], dim=-1).flatten()
            for pose, turn in (
                (low.unflatten(-1, (-1, SIX_POSE)), -half_turn),
                (high.unflatten(-1, (-1, SIX_POSE)), half_turn),
            )
        )
        return lowest, highest
