"""Per-sample discrepancies and weights. Discrepancies are means over elements, so that they do not grow with size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isd_core.networks.embedding import fourier
from isd_core.paths import Path
from isd_core.support.errors import InputError
from isd_core.support.fields import Count, NonNegative, Positive, Size
from isd_core.support.registry import register, role


@role("discrepancy", "discrepancies")
class Discrepancy(ABC):
    """[B, ...] prediction and target to a [B] discrepancy."""

    @abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor: ...


@register("discrepancy", "mse")
@dataclass(frozen=True)
class MSE(Discrepancy):
    """The mean over elements of the squared error, computed in float32 or wider."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
        return (prediction.to(dtype) - target.to(dtype)).square().flatten(1).mean(1)


@role("weighting", "weightings")
class Weighting(ABC):
    """[B] summed terms at times t [B] to the [B] weighted loss.

    size: [B] what the weights are to follow, where that is not the loss itself. A residual l that comes with a weight w
    stands as w l in `loss` and as w^2 l in `size`: w is then 1 / alpha of an error of order alpha, such as that of a
    finite step, whose gradient is that of w l and whose size is that of the difference quotient (`Residual`).
    """

    @abstractmethod
    def __call__(self, loss: Tensor, t: Tensor, path: Path, size: Tensor | None = None) -> Tensor: ...


@register("weighting", "uniform")
@dataclass(frozen=True)
class Uniform(Weighting):
    """Every sample counts alike."""

    def __call__(self, loss: Tensor, t: Tensor, path: Path, size: Tensor | None = None) -> Tensor:
        return loss


@register("weighting", "adaptive")
@dataclass(frozen=True)
class Adaptive(Weighting):
    """l / sg(l + eta)^p (MeanFlow, arXiv 2505.13447, eq. 22); eta is in units of the mean over elements.

    With a weight w of the residual it is w l / sg(w^2 l + eta)^p. p = 1 is not mean-seeking sample by sample: it biases
    problems of few dimensions. Use it for latents.
    """

    p: NonNegative = 1.0
    eta: Positive = 0.01

    def __call__(self, loss: Tensor, t: Tensor, path: Path, size: Tensor | None = None) -> Tensor:
        return loss / ((loss if size is None else size).detach() + self.eta) ** self.p


@register("weighting", "cosine")
@dataclass(frozen=True)
class Cosine(Weighting):
    """cos(pi t / (2 T)): less weight to noise (the larger recipe of arXiv 2601.22679)."""

    def __call__(self, loss: Tensor, t: Tensor, path: Path, size: Tensor | None = None) -> Tensor:
        return torch.cos(torch.pi / 2 * t / path.T) * loss


@register("weighting", "learned")
class Learned(nn.Module, Weighting):
    """exp(-w(t)) l + w(t) with a small network w of t: the uncertainty weighting of EDM2 (arXiv 2312.02696, eq. 21).

    With a weight of the residual, l has the value of `size`, so that w learns its logarithm, and the loss's gradient.
    Its parameters are trained and saved with the model's.
    """

    def __init__(self, frequencies: Size = 32) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.w = nn.utils.skip_init(nn.Linear, frequencies, 1, bias=False)  # zeros: nothing is drawn
        nn.init.zeros_(self.w.weight)

    def forward(self, loss: Tensor, t: Tensor, path: Path, size: Tensor | None = None) -> Tensor:
        if size is not None:
            loss = loss + (size - loss).detach()
        w = self.w(fourier(path.clock(t), self.frequencies, max_frequency=4.0).to(loss.dtype)).squeeze(1)
        return loss * torch.exp(-w) + w


@register("discrepancy", "pseudo_huber")
@dataclass(frozen=True)
class PseudoHuber(Discrepancy):
    """sqrt(|e|^2 + c^2) - c of a sample's error e (arXiv 2310.14189, eq. 7).

    norm="sum": |e| is the L2 norm over the d elements and c grows with sqrt(d) (iCT: c = 0.00054 sqrt(d));
    norm="mean": |e|^2 is the mean over elements (the larger iSD recipe: c = 5).
    With c = 0 it is the norm itself (ECT); a sample without error, such as one with t = s, then has the gradient 0.
    """

    c: NonNegative = 0.00054
    norm: str = "sum"

    def __post_init__(self) -> None:
        if self.norm not in ("sum", "mean"):
            raise InputError(f"PseudoHuber.norm is `sum` or `mean`, not `{self.norm}`.")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        square = MSE()(prediction, target) + self.c**2
        # the root's slope at 0 is infinite, and would make 0 * inf of an error without gradient
        empty = square == 0
        value = torch.where(empty, 0.0, torch.where(empty, 1.0, square).sqrt()) - self.c
        return value * prediction[0].numel() ** 0.5 if self.norm == "sum" else value


@register("discrepancy", "mse_plus_cosine")
@dataclass(frozen=True)
class MSEPlusCosine(Discrepancy):
    """The mean squared error plus 1 - the cosine similarity over the channel axis, averaged over the others."""

    axis: Count = 1

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        similarity = torch.cosine_similarity(prediction.float(), target.float(), dim=self.axis)
        return MSE()(prediction, target) + 1 - similarity.flatten(1).mean(1)
