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

    def keep(self, actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The robot's actions [..., size] within the range [low, high], both [size], of the training actions."""
        return actions.clamp(low, high)


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

    def keep(self, actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """A rotation has two vectors, v and v - 2 pi v / |v|: the one nearer to the middle of the range is kept in it.

        Where the data turns by about pi, the smallest error lands on the other vector, and cutting that off would turn
        the arm by far.
        """
        poses, middle = actions.unflatten(-1, (-1, POSE)), ((low + high) / 2).unflatten(-1, (-1, POSE))[..., 3:6]
        vector = poses[..., 3:6]
        angle = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
        other = vector - 2 * torch.pi * vector / angle.clamp_min(rotations.SMALL)
        distance = [(v - middle).square().sum(-1, keepdim=True) for v in (vector, other)]
        nearer = torch.where((angle > rotations.SMALL) & (distance[1] < distance[0]), other, vector)
        return torch.cat([poses[..., :3], nearer, poses[..., 6:]], dim=-1).flatten(-2).clamp(low, high)
