"""Rotation vectors, which jump where the angle reaches pi: the same rotation has another vector beside it."""

from __future__ import annotations

import numpy as np

SMALL = 1e-9


def nearest_turn(vector: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The rotation vectors [..., 3] (rad), each written with the angle (a, or a - 2 pi) nearest to its reference."""
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    other = vector * (1 - 2 * np.pi / np.maximum(angle, SMALL))
    farther = np.linalg.norm(other - reference, axis=-1, keepdims=True)
    nearer = np.linalg.norm(vector - reference, axis=-1, keepdims=True)
    return np.where((farther < nearer) & (angle > SMALL), other, vector)
