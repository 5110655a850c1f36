"""What a raw network G(x, t, s, cond) predicts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isd_core.flow_map import expand
from isd_core.network import Cond
from isd_core.paths import Path, VarianceExploding
from isd_core.support.errors import InputError
from isd_core.support.fields import Positive
from isd_core.support.registry import register


@register("parametrisation", "plain")
def plain(net: nn.Module, path: Path) -> nn.Module:
    """G is F itself."""
    return net


@register("parametrisation", "data")
class DataPrediction(nn.Module):
    """G predicts data: F = (sigma' x_t - nu G) / sigma, linear (x_t - G) / t (pixel MeanFlow, arXiv 2601.22158).

    On the diagonal G is the mean of the data given x_t; for a jump it is the data at which a straight line along F
    ends. Data often lie near few dimensions where velocities fill all of them. floor: the least sigma that is divided
    by, since a finite error of G is one of F without bound at the data.
    """

    def __init__(self, net: nn.Module, path: Path, floor: Positive = 0.05) -> None:
        super().__init__()
        self.net, self.path, self.floor = net, path, floor
        self.inputs = getattr(net, "inputs", ())

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        c = self.path.coefficients(expand(t, x))
        return (c.d_sigma * x - self.path.nu * self.net(x, t, s, cond)) / c.sigma.clamp_min(self.floor)


@register("parametrisation", "edm")
class EDM(nn.Module):
    """The EDM form with its boundary f(x; s, s) = x, on the variance-exploding path (arXiv 2303.01469, 2206.00364).

    f = c_skip x + c_out G(c_in x), c_skip = sd^2 / ((t - s)^2 + sd^2), c_out = sd (t - s) / sqrt(t^2 + sd^2),
    c_in = 1 / sqrt(t^2 + sd^2), written for F = (x - f) / (t - s), which has no singularity at t = s.
    """

    def __init__(self, net: nn.Module, path: Path, sigma_data: Positive = 0.5) -> None:
        super().__init__()
        if not isinstance(path, VarianceExploding):
            raise InputError(
                f"parametrisation=edm belongs to path=variance_exploding, not to {type(path).__name__}; use "
                "parametrisation=plain or the other path."
            )
        self.net, self.sigma_data = net, sigma_data
        self.inputs = getattr(net, "inputs", ())

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        d, sd = expand(t - s, x), self.sigma_data
        scale = torch.sqrt(expand(t, x) ** 2 + sd**2)
        return d / (d**2 + sd**2) * x - sd / scale * self.net(x / scale, t, s, cond)
