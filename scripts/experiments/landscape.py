"""The loss around trained weights: the top two eigenvectors of its Hessian, and its values along them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isd_core.support import seeds
from isd_core.support.device import pick_device
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_image.build import build_model

LossFunction = Callable[[], Tensor]
LANCZOS_TOLERANCE = 0.01
LANCZOS_VECTORS = 12


@dataclass(frozen=True)
class Landscape:
    """eigenvalues: the two largest of the Hessian; axis: offsets in weight space; products: Hessian-vector products.

    values: [len(axis), len(axis)] losses, the first eigenvector along columns.
    """

    eigenvalues: list[float]
    axis: list[float]
    values: list[list[float]]
    products: int


def loss_at(place: Path, batch: int) -> tuple[LossFunction, list[Tensor]]:
    """The training loss of a checkpoint's averaged weights as a function without arguments, on a fixed batch with fixed
    noise and times, and the parameters that it depends on."""
    saved = checkpoint.load(place)
    config, device = saved.config, pick_device("auto")
    data = build("source", config["data"]["source"]).split("train")
    model = build_model(config, data)
    model.load_state_dict(saved.tensors("ema"))
    model.to(device).eval()
    objective = build("objective", config["objective"])
    rows = data.batch(torch.arange(min(batch, len(data))))
    x, cond = model.prepare(
        {key: value.to(device) for key, value in rows.items()}, seeds.torch_rng(0, "landscape data", device=device)
    )

    def loss() -> Tensor:
        value: Tensor = objective(
            model.net, x, cond, seeds.torch_rng(0, "landscape noise", device=device), saved.step
        ).loss
        return value

    return loss, [p for p in model.net.parameters() if p.requires_grad]


def top_eigenvectors(loss: LossFunction, parameters: Sequence[Tensor], count: int = 2) -> tuple[Any, Any, int]:
    """The largest eigenvalues of the loss's Hessian, [count] descending, with vectors [count, n], by Lanczos.

    The Hessian is that of the loss as it is trained: what carries a stop-gradient is held fixed. Third: the number of
    Hessian-vector products.
    """
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
        gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    flat, products = torch.cat([g.flatten() for g in gradients]), 0

    def product(v: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        vector = torch.as_tensor(v, dtype=flat.dtype, device=flat.device).flatten()
        found = torch.autograd.grad(flat, parameters, vector, retain_graph=True, materialize_grads=True)
        return torch.cat([g.flatten() for g in found]).cpu().numpy().astype(np.float64)

    n = flat.numel()
    start = np.random.default_rng(0).standard_normal(n)
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    values, vectors = eigsh(operator, k=count, which="LA", tol=LANCZOS_TOLERANCE, ncv=LANCZOS_VECTORS, v0=start)
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order].T, products


@torch.no_grad()
def scan(loss: LossFunction, parameters: Sequence[Tensor], vectors: np.ndarray, axis: Sequence[float]) -> np.ndarray:
    """The loss at all sums of offsets along two directions [2, n], [len(axis) (second), len(axis) (first)].

    Targets move with the weights. The weights are put back.
    """
    home = [p.detach().clone() for p in parameters]
    sizes = [p.numel() for p in parameters]
    first, second = (
        [part.view_as(p) for part, p in zip(_split(v, sizes, home[0]), home, strict=True)] for v in vectors
    )
    values = np.empty((len(axis), len(axis)))
    try:
        for i, b in enumerate(axis):
            for j, a in enumerate(axis):
                for p, origin, u, w in zip(parameters, home, first, second, strict=True):
                    p.copy_(origin + a * u + b * w)
                values[i, j] = float(loss())
    finally:
        for p, origin in zip(parameters, home, strict=True):
            p.copy_(origin)
    return values


def _split(vector: np.ndarray, sizes: list[int], like: Tensor) -> tuple[Tensor, ...]:
    return torch.as_tensor(vector, dtype=like.dtype, device=like.device).split(sizes)


def landscape(place: Path, batch: int, radius: float, points: int) -> Landscape:
    """The landscape around a checkpoint: offsets from -radius to radius, `points` of them on each axis."""
    loss, parameters = loss_at(place, batch)
    eigenvalues, vectors, products = top_eigenvectors(loss, parameters)
    axis = np.linspace(-radius, radius, points).tolist()
    values = scan(loss, parameters, vectors, axis)
    return Landscape(eigenvalues.tolist(), axis, values.tolist(), products)
