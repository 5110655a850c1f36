"""The cells of the two-dimensional experiment: one objective trained once, measured as it goes."""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from isd_core.closed_form import Mixture
from isd_core.network import Cond, Trainable
from isd_core.networks.mlp import MLP
from isd_core.objectives.base import Objective
from isd_core.paths import Linear
from isd_core.paths import Path as GaussianPath
from isd_core.sampling import Sampler
from isd_core.support import registry, seeds
from isd_core.support.cli import compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_core.training.config import TrainerConfig
from isd_core.training.optimizer import AdamW
from isd_core.training.trainer import Trainer
from scripts.experiments import metrics
from scripts.support.heads import taught, teachers_place
from scripts.support.passes import Passes, count_passes

NFE = (1, 2, 4, 8)
LAST = 1000  # steps of the run whose last step is counted
FAR = 0.4
GROUPS = 8
POINTS = (0.0, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
SAMPLES = {"energy": 3000, "residual": 4096, "steepness": 512}
DATA = {
    "modes": Mixture.on_circle(Linear(), modes=8, radius=1.5, std=0.1),
    "ring": Mixture.on_circle(Linear(), modes=64, radius=1.5, std=0.1),  # 1.5 std apart: even to two parts in 10^4
}
DATA_STD = 1.065  # of one coordinate of either


@dataclass(frozen=True)
class ToyCell:
    """One objective (a config with overrides) on one data set with one seed.

    passes: forward passes of a batch through the network that the whole training may take, whatever their kind: the
    number of steps follows. label: what the table calls it. teacher: the cell whose network it is distilled from.
    clip: the largest gradient norm, None for no clipping.
    """

    label: str
    objective: str
    data: str
    seed: int
    passes: int
    overrides: tuple[str, ...] = ()
    teacher: str | None = None
    batch: int = 2048
    width: int = 256
    depth: int = 3
    max_frequency: float = 1.0
    lr: float = 1e-3
    clip: float | None = None

    @property
    def name(self) -> str:
        """The stem of its file."""
        return re.sub(r"[^\w-]+", "_", f"{self.data}-{self.label}-seed{self.seed}")


@dataclass(frozen=True)
class Setup:
    """What a cell trains: objective, network and sampler on one path."""

    config: Mapping[str, Any]
    path: GaussianPath
    objective: Objective
    net: nn.Module
    sampler: Sampler


def build(cell: ToyCell, steps: int, out: Path) -> Setup:
    """The cell's parts for a run of `steps` steps. The first weights depend on the seed alone."""
    words = [f"objective={cell.objective}", f"trainer.steps={steps}", *cell.overrides]
    if cell.teacher:
        words.append(f"objective.{teachers_place(cell.objective)}.checkpoint={weights_file(out, cell.teacher)}")
    config = resolved(compose_config("experiment_toy", words))
    path = registry.build("path", config["path"])
    torch.manual_seed(seeds.derive(cell.seed, "initial weights"))
    net = _network(cell, config, path)
    teacher = _network(cell, config, path)
    if cell.teacher:
        teacher.load_state_dict(load_file(weights_file(out, cell.teacher)))
    return Setup(config, path, taught(config["objective"], teacher), net, registry.build("sampler", config["sampler"]))


def _network(cell: ToyCell, config: Mapping[str, Any], path: GaussianPath) -> nn.Module:
    body = MLP(2, clock=path.clock, width=cell.width, depth=cell.depth, max_frequency=cell.max_frequency)
    net: nn.Module = registry.build("parametrisation", config["parametrisation"], net=body, path=path)
    return net


def weights_file(out: Path, name: str) -> Path:
    """Where a cell's last weights lie."""
    return out / "weights" / f"{name}.safetensors"


def passes_of(cell: ToyCell, out: Path) -> Passes:
    """The passes of one step of the cell's objective, its curriculum being at its end."""
    setup = build(cell, LAST, out)
    rng = torch.Generator().manual_seed(0)
    return count_passes(setup.objective, setup.net, torch.randn(64, 2, generator=rng), {}, rng, LAST - 1)


class FreshDraws(Trainable):
    """A network on a closed-form distribution: every step draws new points; a batch only says how many."""

    def __init__(self, net: nn.Module, data: Mixture) -> None:
        super().__init__()
        self.net, self.data = net, data

    def prepare(self, batch: Tensor, rng: Generator) -> tuple[Tensor, Cond]:
        """The batch's indices [B] -> points [B, 2]."""
        return self.data.sample(len(batch), rng), {}


class Indices:
    """A data set of nothing but indices, as many as a batch has."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def batch(self, indices: Tensor) -> Tensor:
        return indices


def trainer_of(cell: ToyCell, setup: Setup, steps: int, out: Path) -> Trainer:
    """The package's trainer: Adam (AdamW without decay), a cosine schedule without warm-up, every step by itself.

    Its averages are not used.
    """
    config = TrainerConfig(
        steps=steps,
        batch_size=cell.batch,
        device="cpu",
        optimizer=AdamW(lr=cell.lr),
        warmup=0,
        clip_norm=cell.clip,
    )
    model, run_dir = FreshDraws(setup.net, DATA[cell.data]), out / "runs" / cell.name
    return Trainer(
        model, setup.objective, Indices(cell.batch), config,
        run_dir=run_dir, seed=cell.seed, config=setup.config, kind="toy",
    )  # fmt: skip


def train(cell: ToyCell, out: Path) -> dict[str, Any]:
    """Trains the cell without averaging; returns its curve and its costs.

    A run whose gradients stop being finite ends there, with "diverged" the step.
    """
    if cell.teacher is not None and not weights_file(out, cell.teacher).exists():
        raise InputError(f"{cell.name} is distilled from {cell.teacher}, whose weights are not in {out}.")
    passes = passes_of(cell, out)
    steps = max(1, round(cell.passes / passes.total))
    setup = build(cell, steps, out)
    curve: list[dict[str, Any]] = []
    seconds, diverged = 0.0, None
    with closing(trainer_of(cell, setup, steps, out)) as trainer:
        for due in sorted({round(u * steps) for u in POINTS}):
            norms: list[float] = []
            started = time.perf_counter()
            while trainer.step < due and diverged is None:
                norm = float(trainer.train_step()[1])
                if math.isfinite(norm):
                    norms.append(norm)
                else:
                    diverged = trainer.step - 1
            seconds += time.perf_counter() - started
            if diverged is not None:
                break
            curve.append({"step": due, "passes": due * passes.total} | measure(setup, cell.data) | _spread(norms))
    with atomic_write(weights_file(out, cell.name)) as temporary:
        save_file({key: value.contiguous() for key, value in setup.net.state_dict().items()}, temporary)
    cost = {"graded": passes.graded, "ungraded": passes.ungraded, "total": passes.total}
    cost |= {"derivative": passes.derivative, "graded_derivative": passes.graded_derivative}
    return {"curve": curve, "steps": steps, "passes": cost, "train_seconds": seconds, "diverged": diverged}


def _spread(norms: list[float]) -> dict[str, float | None]:
    """The mean and the largest gradient norm since the last measurement."""
    if not norms:
        return {"grad_norm": None, "grad_norm_max": None}
    return {"grad_norm": sum(norms) / len(norms), "grad_norm_max": max(norms)}


@torch.no_grad()
def measure(setup: Setup, name: str) -> dict[str, Any]:
    """All measures of the network as it is, on the same points for every cell; None for what is not finite."""
    data, rng = DATA[name], torch.Generator().manual_seed(1)
    exact = copy.deepcopy(setup.net).double()
    x = data.sample(SAMPLES["residual"], rng, torch.float64)
    z = torch.randn(x.shape, generator=rng, dtype=x.dtype)
    (real, within), noise = _real(name), torch.randn(SAMPLES["energy"], 2, generator=rng)
    pair, end = (metrics.residuals(exact, setup.path, data, x, z, law) for law in ("pair", "end"))
    result: dict[str, Any] = {
        "residual": metrics.finite(pair.exact),
        "residual_own": metrics.finite(pair.own),
        "diagonal": metrics.finite(pair.diagonal),
        "residual_end": metrics.finite(end.exact),
        "steepness": metrics.finite(metrics.steepness(exact, setup.path, z[: SAMPLES["steepness"]])),
    }
    for key in ("energy", "far", "masses", "std"):
        result[key] = {}
    for nfe in NFE:
        if not setup.sampler.can_make(nfe):  # drifting makes one alone
            for key in ("energy", "far", "masses", "std"):
                result[key][str(nfe)] = None
            continue
        samples = setup.sampler(setup.net, noise, nfe, {})
        whole = bool(torch.isfinite(samples).all())
        lying = metrics.modes(samples, data, FAR, GROUPS) if whole else None
        result["energy"][str(nfe)] = metrics.finite(metrics.energy_distance(samples, real, within))
        result["far"][str(nfe)] = lying.far if lying else None
        result["masses"][str(nfe)] = lying.masses if lying else None
        result["std"][str(nfe)] = metrics.finite(float(samples.std(0).mean()))
    return result


@lru_cache
def _real(name: str) -> tuple[Tensor, float]:
    """Fresh data of the same number as the samples, and their mean distance."""
    x = DATA[name].sample(SAMPLES["energy"], torch.Generator().manual_seed(2))
    return x, metrics.mean_distance(x)


@lru_cache
def truth(name: str) -> dict[str, float]:
    """What the measures say of real data and of the true map: the best that a method can do."""
    data, rng = DATA[name], torch.Generator().manual_seed(3)
    other = data.sample(SAMPLES["energy"], rng)
    z = torch.randn(SAMPLES["steepness"], 2, generator=rng, dtype=torch.float64)
    return {
        "energy": metrics.energy_distance(other, *_real(name)),
        "far": metrics.modes(other, data, FAR, GROUPS).far,
        "std": float(other.std(0).mean()),
        "steepness": metrics.true_steepness(data, z),
        "mass_std": math.sqrt((1 / GROUPS) * (1 - 1 / GROUPS) / SAMPLES["energy"]),
    }
