"""The method alone: any objective on any tensor with any network."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from isd_core import parametrisation, sampling
from isd_core.network import Cond, Trainable
from isd_core.presets import Preset, config_from
from isd_core.sampling import Sampler
from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.training.run import finished, train

MEMBERS = (parametrisation, sampling)
"""Imported so that what a config names is registered."""

KIND = "tensor"
SPREAD = 0.5
"""The standard deviation of data as networks see it, about that of images and actions in [-1, 1]."""


class Standardised(Trainable):
    """A network on data [B, ...] shifted and scaled to mean 0 and standard deviation `SPREAD`.

    net: F(x, t, s) or F(x, t, s, cond) over x [B, ...] and path times t, s [B].
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, net: nn.Module, data: Tensor) -> None:
        super().__init__()
        self.net = net
        spread = float(data.std()) if data.numel() > 1 else 0.0
        self.register_buffer("centre", data.mean())
        self.register_buffer("scale", torch.tensor(spread / SPREAD if spread > 0 else 1.0))

    def prepare(self, batch: Mapping[str, Any], rng: Generator) -> tuple[Tensor, Cond]:
        return (batch["x"] - self.centre) / self.scale, batch["cond"]


class WithoutCondition(nn.Module):
    """F(x, t, s) as a network that is called with conditioning, which it does not see."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        out: Tensor = self.net(x, t, s)
        return out


class Tensors:
    """Data [N, ...] with its conditioning, name -> [N, ...], in memory."""

    def __init__(self, data: Tensor, cond: Cond) -> None:
        self.data, self.cond = data, cond

    def __len__(self) -> int:
        return len(self.data)

    def to(self, device: torch.device) -> Tensors:
        """The same data in the memory of a device."""
        return Tensors(self.data.to(device), {key: value.to(device) for key, value in self.cond.items()})

    def batch(self, indices: Tensor) -> dict[str, Any]:
        """{"x": [B, ...], "cond": {name: [B, ...]}}."""
        indices = indices.to(self.data.device)
        return {"x": self.data[indices], "cond": {key: value[indices] for key, value in self.cond.items()}}


class Flow:
    """A trained flow map that samples; made by `fit`. model: the averaged network with the data's scale."""

    def __init__(
        self, model: Standardised, sampler: Sampler, shape: tuple[int, ...], config: Mapping[str, Any]
    ) -> None:
        self.model, self.sampler, self.shape, self.config = model.eval(), sampler, shape, config

    @torch.no_grad()
    def sample(self, n: int, nfe: int = 1, cond: Cond | None = None, seed: int = 0) -> Tensor:
        """[n, *shape] samples in the data's units by `nfe` network evaluations; cond: name -> [n, ...].

        Raises `InputError` for a number of evaluations that the sampler cannot make, `ArithmeticError` for samples that
        are not finite.
        """
        device = self.model.centre.device
        noise = torch.randn(n, *self.shape, generator=seeds.torch_rng(seed, "sample")).to(device)
        given = {key: value.to(device) for key, value in (cond or {}).items()}
        x = self.sampler(self.model.net, noise, nfe, given) * self.model.scale + self.model.centre
        if not torch.isfinite(x).all():
            raise ArithmeticError("the samples are not finite: the training diverged")
        return x.cpu()


def fit(
    net: nn.Module,
    data: Tensor,
    *,
    cond: Cond | None = None,
    objective: str | Preset = "isd",
    steps: int | None = None,
    run_dir: str | Path | None = None,
    seed: int = 0,
    **settings: Any,
) -> Flow:
    """Trains `net` on data [N, ...] and returns the flow map of its averaged weights; `net` itself is trained too.

    net: any module F(x, t, s), or F(x, t, s, cond) where there is conditioning, over x [B, ...] and path times t, s
    [B], of any shape that it gives back. data may have any scale. cond: name -> [N, ...]. objective: a name of
    configs/objective, or a preset such as `isd_core.isd(path="linear", times="logit_normal_pair")`. run_dir: where
    checkpoints and the log go, and from where the same call resumes; None keeps nothing. settings: further choices and
    fields of configs/core_fit.yaml, such as `path="trigonometric"`, `trainer={"batch_size": 256}`.

    Raises `InputError` for data and settings that cannot be used, `DivergedError` when the gradients stop being finite.
    """
    data = torch.as_tensor(data).float()
    given = {} if cond is None else dict(cond)
    _check(data, given)
    fixed = {"objective": objective, "seed": seed} | ({} if steps is None else {"trainer.steps": steps})
    config = config_from("core_fit", {**settings, **fixed})
    path = build("path", config["path"])
    body = net if len(_positional(net)) > 3 else WithoutCondition(net)
    model = Standardised(build("parametrisation", config["parametrisation"], net=body, path=path), data)
    with tempfile.TemporaryDirectory() as temporary:
        config["run_dir"] = str(temporary if run_dir is None else run_dir)
        ran = finished(train(config, model, Tensors(data, given), KIND))
        averaged = ran.averages["ema"].state
        trained = {key: value.detach().clone() for key, value in averaged.items()}
    model.load_state_dict(trained)
    return Flow(model, build("sampler", config["sampler"]), tuple(data.shape[1:]), config)


def _check(data: Tensor, cond: Cond) -> None:
    if data.ndim < 2 or len(data) == 0:
        raise InputError(f"data has shape {list(data.shape)}; expected [N, ...], N samples of at least one axis.")
    if not torch.isfinite(data).all():
        raise InputError("data has numbers that are not finite.")
    for key, value in cond.items():
        if len(value) != len(data):
            raise InputError(f"cond[{key!r}] has {len(value)} rows, data has {len(data)}.")


def _positional(net: nn.Module) -> list[str]:
    """The parameters that a network's call takes by place."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, p in inspect.signature(net.forward).parameters.items() if p.kind in kinds]
