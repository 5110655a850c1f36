import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from isd_policy.rotations import matrix_of_six, matrix_of_vector, six_of_matrix, vector_of_matrix


def vectors(n=500, seed=0):
    """Rotation vectors with angles over [0, pi]."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=(n, 3))
    angle = rng.uniform(0, math.pi, (n, 1))
    return torch.from_numpy(axis / np.linalg.norm(axis, axis=1, keepdims=True) * angle)


def test_matrices_are_scipys():
    expected = Rotation.from_rotvec(vectors().numpy()).as_matrix()
    np.testing.assert_allclose(matrix_of_vector(vectors()), expected, atol=1e-14)


def test_vectors_are_scipys():
    matrices = Rotation.from_rotvec(vectors().numpy()).as_matrix()
    np.testing.assert_allclose(vector_of_matrix(torch.from_numpy(matrices)), vectors(), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-7, math.pi - 1e-9, math.pi])
@pytest.mark.parametrize("axis", [[1, 0, 0], [0, -1, 0], [0, 0, 1], [0.6, 0, -0.8], [1 / 3, -2 / 3, 2 / 3]])
def test_small_and_straight_angles_come_back(angle, axis):
    vector = angle * torch.tensor(axis, dtype=torch.float64)
    matrix = matrix_of_vector(vector)
    torch.testing.assert_close(matrix_of_vector(vector_of_matrix(matrix)), matrix, atol=1e-9, rtol=0)


def test_six_numbers_hold_the_rotation():
    matrix = matrix_of_vector(vectors())
    torch.testing.assert_close(matrix_of_six(six_of_matrix(matrix)), matrix)


def test_any_six_numbers_give_a_rotation():
    matrix = matrix_of_six(torch.randn(100, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64).expand(100, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(100, dtype=torch.float64))


def test_six_numbers_do_not_jump_where_the_vector_does():
    """Two turns about x, just below and just above pi."""
    below, above = (torch.tensor([angle, 0.0, 0.0]) for angle in (math.pi - 0.001, math.pi + 0.001))
    matrices = matrix_of_vector(below), matrix_of_vector(above)
    assert torch.dist(*map(six_of_matrix, matrices)) < 0.01
    assert torch.dist(*map(vector_of_matrix, matrices)) > 6
