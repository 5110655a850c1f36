"""Distances between sets of features, against closed forms."""

import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_image.metrics.distances import Gaussian, frechet, inception_score, kernel_distance, precision_recall


def gaussian(mean, covariance) -> Gaussian:
    return Gaussian(torch.tensor(mean).double(), torch.tensor(covariance).double(), 100)


def test_frechet_of_a_set_with_itself_is_zero():
    a = Gaussian.of(torch.randn(50, 6, generator=torch.Generator().manual_seed(0)))
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_of_diagonal_gaussians():
    a = gaussian([0.0, 0.0], [[4.0, 0.0], [0.0, 1.0]])
    b = gaussian([3.0, 0.0], [[1.0, 0.0], [0.0, 9.0]])
    assert frechet(a, b) == pytest.approx(9 + (2 - 1) ** 2 + (1 - 3) ** 2)


def test_frechet_agrees_with_the_matrix_root():
    from scipy.linalg import sqrtm

    rng = torch.Generator().manual_seed(0)
    a, b = (Gaussian.of(torch.randn(40, 5, generator=rng) @ torch.randn(5, 5, generator=rng)) for _ in range(2))
    root = np.trace(sqrtm(a.covariance.numpy() @ b.covariance.numpy()).real)
    expected = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * root
    assert frechet(a, b) == pytest.approx(float(expected), rel=1e-6)


def test_frechet_with_fewer_points_than_dimensions_is_finite():
    rng = torch.Generator().manual_seed(0)
    a, b = (Gaussian.of(torch.randn(5, 20, generator=rng)) for _ in range(2))
    assert 0 < frechet(a, b) < 100


def test_one_image_has_no_covariance():
    with pytest.raises(InputError, match="at least two"):
        Gaussian.of(torch.zeros(1, 3))


def test_kernel_distance_is_unbiased():
    rng = torch.Generator().manual_seed(0)
    same = kernel_distance(torch.randn(500, 8, generator=rng), torch.randn(500, 8, generator=rng))
    other = kernel_distance(torch.randn(500, 8, generator=rng), 0.5 + torch.randn(500, 8, generator=rng))
    assert abs(same[0]) < 0.02
    assert other[0] > 0.2


def test_precision_and_recall_of_a_set_with_itself():
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    assert precision_recall(x, x) == (1, 1)


def test_samples_of_one_mode_are_precise_and_recall_half():
    rng = torch.Generator().manual_seed(0)
    left, right = (0.1 * torch.randn(200, 2, generator=rng) + shift for shift in (-5, 5))
    precision, recall = precision_recall(torch.cat([left, right]), left)
    assert precision > 0.95
    assert recall == pytest.approx(0.5)


def test_samples_far_away_are_not_precise():
    rng = torch.Generator().manual_seed(0)
    assert precision_recall(torch.randn(50, 2, generator=rng), 50 + torch.randn(50, 2, generator=rng)) == (0, 0)


def test_inception_score_of_sure_and_even_classes_is_their_number():
    logits = 100 * torch.eye(4).repeat(25, 1)
    assert inception_score(logits, splits=1)[0] == pytest.approx(4)


def test_inception_score_of_one_class_is_one():
    assert inception_score(torch.ones(20, 4))[0] == pytest.approx(1)
