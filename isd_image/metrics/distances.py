"""Fréchet distance, kernel distance, precision and recall, inception score; all in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isd_core.support import seeds
from isd_core.support.errors import InputError

KID_SUBSETS, KID_SIZE = 100, 1000
FIDELITY_SEED = 2020  # of torch-fidelity's order
NEIGHBOURS = 3


@dataclass(frozen=True)
class Gaussian:
    """The mean [D] and the covariance [D, D] of n feature vectors."""

    mean: Tensor
    covariance: Tensor
    n: int

    @classmethod
    def of(cls, features: Tensor) -> Gaussian:
        """From features [n, D]; the covariance is the unbiased one. Raises `InputError` for fewer than two."""
        if len(features) < 2:
            raise InputError(f"{len(features)} images have no covariance: give at least two, better tens of thousands.")
        x = features.double()
        return cls(x.mean(0), torch.cov(x.T).reshape(x.shape[1], x.shape[1]), len(x))


def frechet(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Heusel et al., 1706.08500).

    The trace of the root is the sum of the roots of the eigenvalues of C_a^(1/2) C_b C_a^(1/2), which is symmetric.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    middle = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp_min(0).sqrt().sum()
    traces = a.covariance.trace() + b.covariance.trace()
    return float((a.mean - b.mean).square().sum() + traces - 2 * middle)


def kernel_distance(a: Tensor, b: Tensor, seed: int = 0) -> tuple[float, float]:
    """KID (1801.01401): unbiased squared MMD with the kernel (x.y / D + 1)^3; mean and std over 100 subsets of 1,000.

    a: [n, D], b: [m, D]. Subsets are as large as the smaller set, if that has fewer than 1,000 rows.
    """
    size = min(KID_SIZE, len(a), len(b))
    if size < 2:
        raise InputError("the kernel distance needs at least two images on each side.")
    estimates = []
    for i in range(KID_SUBSETS):
        rng = seeds.numpy_rng(seed, "kernel distance", i)
        x = a[torch.from_numpy(rng.choice(len(a), size, replace=False))].double()
        y = b[torch.from_numpy(rng.choice(len(b), size, replace=False))].double()
        xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
        within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (size * (size - 1))
        estimates.append(float(within - 2 * xy.mean()))
    return float(np.mean(estimates)), float(np.std(estimates))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def precision_recall(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Improved precision and recall (1904.06991): the share of one set inside the other's 3-nearest-neighbour balls.

    real: [n, D], fake: [m, D].
    """
    if min(len(real), len(fake)) <= NEIGHBOURS:
        raise InputError(f"precision and recall need more than {NEIGHBOURS} images on each side.")
    return _inside(fake, real), _inside(real, fake)


def _inside(points: Tensor, manifold: Tensor, rows: int = 1024) -> float:
    """The share of `points` that lie in the ball of some point of `manifold`."""
    centres = manifold.double()
    distances = (torch.cdist(part, centres) for part in centres.split(rows))
    radii = torch.cat([d.kthvalue(NEIGHBOURS + 1, dim=1).values for d in distances])  # the first is the point itself
    inside = sum(int((torch.cdist(part.double(), centres) <= radii).any(1).sum()) for part in points.split(rows))
    return inside / len(points)


def inception_score(logits: Tensor, splits: int = 10) -> tuple[float, float]:
    """exp E KL(p(y|x) | p(y)) (1606.03498): mean and std over `splits` parts of logits [n, K].

    The parts are those of torch-fidelity: its random order, the same for every set of n, cut at i n / splits.
    """
    n, splits = len(logits), min(splits, len(logits))
    shuffled = logits[np.random.RandomState(FIDELITY_SEED).permutation(n)].double()
    scores = []
    for i in range(splits):
        part = shuffled[i * n // splits : (i + 1) * n // splits]
        p = part.softmax(1)
        marginal = p.mean(0, keepdim=True)
        scores.append(float((p * (p.clamp_min(1e-300).log() - marginal.clamp_min(1e-300).log())).sum(1).mean().exp()))
    return float(np.mean(scores)), float(np.std(scores))
