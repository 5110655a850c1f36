"""Points and paths that the core's tests share."""

import pytest
import torch

from isd_core.paths import Linear, Path, Trigonometric, VarianceExploding

PATHS = [Linear(), Trigonometric(), VarianceExploding(sigma_max=5.0)]


@pytest.fixture(params=PATHS, ids=lambda path: type(path).__name__)
def path(request) -> Path:
    return request.param


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def points(path, rng):
    """x [64, 3] and times 0.02 T < s < t < 0.98 T, apart by at least 0.05 T, in float64."""
    n = 64
    x = torch.randn(n, 3, generator=rng, dtype=torch.float64)
    s = path.T * (0.02 + 0.55 * torch.rand(n, generator=rng, dtype=torch.float64))
    t = s + path.T * (0.05 + 0.3 * torch.rand(n, generator=rng, dtype=torch.float64))
    return x, t, s
