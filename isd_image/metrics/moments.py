"""Mean and covariance of features that arrive in batches."""

from __future__ import annotations

import torch
from torch import Tensor

from isd_core.support.errors import InputError
from isd_image.metrics.distances import Gaussian


class Moments:
    """The running count, mean [D] and scatter [D, D] (sum of centred outer products) of features, in float64.

    Batches are merged by their means and scatters (Chan, Golub and LeVeque 1979): no large sums are subtracted, and
    memory does not grow with the number of features.
    """

    def __init__(self, n: int = 0, mean: Tensor | None = None, scatter: Tensor | None = None) -> None:
        self.n, self.mean, self.scatter = n, mean, scatter

    def add(self, features: Tensor) -> None:
        """features: [B, D]. Raises `InputError` for NaN and infinities."""
        x = check_finite(features, "The features").double()
        mean = x.mean(0)
        centred = x - mean
        self.merge(Moments(len(x), mean, centred.T @ centred))

    def merge(self, other: Moments) -> None:
        """Adds what `other` has seen."""
        if other.mean is None or other.scatter is None:
            return
        if self.mean is None or self.scatter is None:
            self.n, self.mean, self.scatter = other.n, other.mean, other.scatter
            return
        total = self.n + other.n
        delta = other.mean - self.mean
        self.scatter = self.scatter + other.scatter + torch.outer(delta, delta) * (self.n * other.n / total)
        self.mean = self.mean + delta * (other.n / total)
        self.n = total

    def gaussian(self) -> Gaussian:
        """The mean and the unbiased covariance. Raises `InputError` for fewer than two features."""
        if self.n < 2 or self.mean is None or self.scatter is None:
            raise InputError(f"{self.n} images have no covariance: give at least two, better tens of thousands.")
        return Gaussian(self.mean, self.scatter / (self.n - 1), self.n)


def check_finite(values: Tensor, what: str) -> Tensor:
    """`values` themselves; `InputError` when some of them are NaN or infinite."""
    if values.is_floating_point() and not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values.flatten(1) if values.ndim > 1 else values[:, None]).all(1)).sum())
        raise InputError(f"{what} of {bad} of {len(values)} images are NaN or infinite, so no distance means anything.")
    return values
