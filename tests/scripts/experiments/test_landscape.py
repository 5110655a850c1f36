"""The loss around trained weights, on a quadratic whose landscape is known."""

import numpy as np
import pytest
import torch

from scripts.experiments.landscape import scan, top_eigenvectors

CURVATURES = torch.arange(1.0, 31.0)


@pytest.fixture
def bowl():
    """A loss with Hessian diag(1 ... 30), in two parameters, at its minimum."""
    first, second = torch.zeros(10, requires_grad=True), torch.zeros(4, 5, requires_grad=True)

    def loss():
        weights = torch.cat([first, second.flatten()])
        return 1 + (CURVATURES * weights.square()).sum() / 2 + weights.sum() * 0

    return loss, [first, second]


def test_the_largest_eigenvalues_are_found(bowl):
    values, vectors, _ = top_eigenvectors(*bowl)
    assert values == pytest.approx([30.0, 29.0], rel=1e-3)
    assert np.abs(vectors[0]).argmax() == 29
    assert np.abs(vectors[1]).argmax() == 28


def test_the_scan_shows_the_loss_along_both_vectors(bowl):
    loss, parameters = bowl
    directions = np.eye(30)[[29, 0]]
    values = scan(loss, parameters, directions, [-1.0, 0.0, 2.0])
    assert values[1, 1] == pytest.approx(1.0)
    assert values[1, 2] == pytest.approx(1 + 30 * 4 / 2)  # along the first, in columns
    assert values[0, 1] == pytest.approx(1 + 1 / 2)  # along the second, in rows


def test_the_scan_puts_the_weights_back(bowl):
    loss, parameters = bowl
    scan(loss, parameters, np.eye(30)[:2], [-1.0, 1.0])
    assert not any(bool(p.any()) for p in parameters)
