"""Optimisers of the image recipes: NorMuon for matrices with AdamW for the rest, and RAdam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isd_core.networks.transformer import Attention, SwiGLUFeedForward
from isd_core.support.errors import InputError
from isd_core.support.fields import Decay, NonNegative, Positive
from isd_core.support.registry import register
from isd_core.training.optimizer import OptimizerConfig
from isd_core.training.sharding import full_tensor, sharded_like
from isd_image.networks.layers import LabelEmbedding

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the quintic's coefficients of Muon (kellerjordan.github.io/posts/muon)
STEPS = 5


def orthogonalise(matrix: Tensor) -> Tensor:
    """About U V^T of matrix = U S V^T: five Newton-Schulz steps, which bring singular values to about 0.7 to 1.2.

    matrix: [m, n]; computed in bfloat16 on CUDA and float32 elsewhere, given back in float32.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.mT
    x = x / (x.norm() + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


class NorMuon(torch.optim.Optimizer):
    """Muon with a second moment for each neuron (2510.05491), and AdamW for groups with `method="adamw"`.

    For a matrix W [m, n] with gradient G, each step:
        M = beta1 M + (1 - beta1) G;  O = orthogonalise((1 - beta1) G + beta1 M), Nesterov's momentum;
        v = beta2 v + (1 - beta2) mean over n of O^2;  U = O / (sqrt(v) + eps), brought back to O's norm;
        W = W - lr weight_decay W - lr sqrt(max(1, m / n)) U.
    A group's `blocks` says into how many matrices of equal height its own are cut: a layer that makes queries, keys and
    values at once holds three maps, each of which is orthogonalised apart. Of weights that are sharded each process
    orthogonalises the whole matrix.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        if closure is not None:
            raise NotImplementedError("this optimiser takes gradients, not a closure")
        for group in self.param_groups:
            update = self._matrix if group["method"] == "normuon" else self._adamw
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, group)

    def _matrix(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
            state["neuron"] = torch.zeros_like(parameter[:, :1])
        beta1, beta2 = group["betas"]
        momentum, neuron = state["momentum"], state["neuron"]
        assert parameter.grad is not None
        momentum.lerp_(parameter.grad, 1 - beta1)
        ahead = full_tensor(parameter.grad.lerp(momentum, beta1))
        directions = [orthogonalise(block) for block in ahead.chunk(group["blocks"])]
        neuron.lerp_(sharded_like(torch.cat(directions).square().mean(1, keepdim=True), neuron), 1 - beta2)
        spreads = (full_tensor(neuron).sqrt() + group["eps"]).chunk(group["blocks"])
        updates = [_neurons_alike(*pair, group["eps"]) for pair in zip(directions, spreads, strict=True)]
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(sharded_like(torch.cat(updates), parameter), alpha=-group["lr"])

    def _adamw(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
        k = float(state["step"])
        denominator = (state["exp_avg_sq"] / (1 - beta2**k)).sqrt().add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(state["exp_avg"], denominator, value=-group["lr"] / (1 - beta1**k))


def _neurons_alike(direction: Tensor, spread: Tensor, eps: float) -> Tensor:
    """direction [m, n] with each row divided by spread [m, 1], at its former norm times sqrt(max(1, m / n))."""
    rows, columns = direction.shape
    alike = direction / spread
    return alike * (direction.norm() / (alike.norm() + eps) * max(1.0, rows / columns) ** 0.5)


@register("optimizer", "radam")
@dataclass(frozen=True)
class RAdam(OptimizerConfig):
    """Rectified Adam (1908.03265), which the consistency-training recipes were published with."""

    lr: Positive
    betas: tuple[Decay, Decay]
    eps: NonNegative
    weight_decay: NonNegative

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of all parameters that want a gradient."""
        wanted = [p for p in module.parameters() if p.requires_grad]
        betas = (self.betas[0], self.betas[1])
        return torch.optim.RAdam(wanted, self.lr, betas, self.eps, self.weight_decay)


@register("optimizer", "normuon")
@dataclass(frozen=True)
class NorMuonAdamW(OptimizerConfig):
    """NorMuon on the weights of linear layers inside the network, AdamW on embeddings, patches, head, norms and biases.

    lr is NorMuon's; AdamW takes `adam_scale` times that. The three maps of an attention's `qkv` and the two of a SwiGLU
    layer's `up` are orthogonalised apart.
    """

    lr: Positive
    betas: tuple[Decay, Decay]
    eps: NonNegative
    weight_decay: NonNegative
    adam_scale: NonNegative
    adam_betas: tuple[Decay, Decay]

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of all parameters that want a gradient. Raises `InputError` for a network without matrices."""
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        tables = {p for m in module.modules() if isinstance(m, LabelEmbedding) for p in m.parameters()}
        matrices = [
            p for name, p in named if p.ndim == 2 and p not in tables and name.rpartition(".")[0][-4:] != "head"
        ]
        if not matrices:
            raise InputError("trainer.optimizer: the network has no matrices for NorMuon; use AdamW.")
        chosen = set(matrices)
        shared = {"weight_decay": self.weight_decay, "eps": self.eps}
        joined = dict.fromkeys((m.qkv.weight for m in module.modules() if isinstance(m, Attention)), 3)
        joined |= dict.fromkeys((m.up.weight for m in module.modules() if isinstance(m, SwiGLUFeedForward)), 2)
        groups: list[dict[str, Any]] = []
        for blocks in (1, 2, 3):
            if alike := [p for p in matrices if joined.get(p, 1) == blocks]:
                own = {"method": "normuon", "betas": tuple(self.betas), "blocks": blocks}
                groups.append({"params": alike, **own, **shared})
        groups += [
            {
                "params": [p for _, p in named if p not in chosen],
                "method": "adamw",
                "betas": tuple(self.adam_betas),
                "lr_scale": self.adam_scale,
                **shared,
            },
        ]
        return NorMuon(groups, self.lr)
