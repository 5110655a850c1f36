"""Rotations as vectors (axis times angle), matrices, and six numbers without jumps.

The six numbers are the first two rows of the matrix (Zhou et al., arXiv 1812.07035). A rotation vector jumps where the
angle reaches pi, which a regression target must not.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 1e-4  # radians: below it quotients of vanishing numbers are replaced by their limits


def matrix_of_vector(vector: Tensor) -> Tensor:
    """[..., 3] rotation vectors v (rad) -> [..., 3, 3]: I + sin a / a [v] + (1 - cos a) / a^2 [v]^2 (Rodrigues)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    half = torch.linalg.vector_norm(vector, dim=-1)[..., None, None] / 2
    safe = half.clamp_min(SMALL)
    sinc = torch.where(half < SMALL, 1 - half.square() / 6, safe.sin() / safe)
    first, second = sinc * half.cos(), sinc.square() / 2
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + first * cross + second * (cross @ cross)


def vector_of_matrix(matrix: Tensor) -> Tensor:
    """[..., 3, 3] rotations -> [..., 3] rotation vectors with an angle in [0, pi], by way of the quaternion.

    Of the quaternion's four expressions the one with the largest divisor is taken, so that no angle loses digits
    (Shepperd 1978).
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    trace = m[0][0] + m[1][1] + m[2][2]
    w, x, y, z = (
        torch.stack([1 + trace, m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]], dim=-1),
        torch.stack([m[2][1] - m[1][2], 1 + 2 * m[0][0] - trace, m[1][0] + m[0][1], m[0][2] + m[2][0]], dim=-1),
        torch.stack([m[0][2] - m[2][0], m[1][0] + m[0][1], 1 + 2 * m[1][1] - trace, m[2][1] + m[1][2]], dim=-1),
        torch.stack([m[1][0] - m[0][1], m[0][2] + m[2][0], m[2][1] + m[1][2], 1 + 2 * m[2][2] - trace], dim=-1),
    )
    candidates = torch.stack([w, x, y, z], dim=-2)  # [..., 4, 4], each a multiple of the quaternion (w, x, y, z)
    largest = torch.diagonal(candidates, dim1=-2, dim2=-1).argmax(dim=-1)
    quaternion = torch.take_along_dim(candidates, largest[..., None, None], dim=-2).squeeze(-2)
    quaternion = torch.nn.functional.normalize(quaternion, dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = torch.linalg.vector_norm(quaternion[..., 1:], dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    scale = torch.where(sine < SMALL, torch.full_like(sine, 2.0), angle / sine.clamp_min(SMALL))
    return scale * quaternion[..., 1:]


def six_of_matrix(matrix: Tensor) -> Tensor:
    """[..., 3, 3] -> [..., 6], the first two rows."""
    return matrix[..., :2, :].flatten(-2)


def matrix_of_six(six: Tensor) -> Tensor:
    """[..., 6], not necessarily of a rotation, -> [..., 3, 3]: the two rows made orthonormal (Gram-Schmidt)."""
    first = torch.nn.functional.normalize(six[..., :3], dim=-1)
    second = six[..., 3:]
    second = second - (first * second).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)
