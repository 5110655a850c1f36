"""An average of a run's weights of any length, after the training.

Averages by a power function (`average=power_function`) are sums over the run's steps with weights k^gamma. Those that a
run's checkpoints hold, at several steps and of two lengths, span the average of another length nearly: the combination
nearest to it in the profiles is taken (EDM2, arXiv 2312.02696, appendix C).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_core.training.ema import PowerFunctionDecay, gamma_of


class Profile(NamedTuple):
    """Weights (gamma + 1) k^gamma / steps^(gamma + 1) of the steps k up to `steps`."""

    steps: int
    gamma: float


class Stored(NamedTuple):
    """An average in a checkpoint."""

    saved: checkpoint.Checkpoint
    name: str
    profile: Profile


def overlap(a: Profile, b: Profile) -> float:
    """The integral of the product of two profiles, relative to 1 over the longer one's steps.

    (g_a + 1) (g_b + 1) / (g_a + g_b + 1) m^(g_a + g_b + 1) / (n_a^(g_a + 1) n_b^(g_b + 1)), m the lesser of both n.
    """
    least = min(a.steps, b.steps)
    powers = a.gamma * math.log(least / a.steps) + b.gamma * math.log(least / b.steps)
    power = (a.gamma + 1) * (b.gamma + 1) / (a.gamma + b.gamma + 1)
    return power * math.exp(powers) / max(a.steps, b.steps)


def coefficients(stored: Sequence[Profile], wanted: Profile) -> Tensor:
    """[n] factors of the stored profiles whose sum is nearest to the wanted one; float64."""
    gram = torch.tensor([[overlap(a, b) for b in stored] for a in stored], dtype=torch.float64)
    right = torch.tensor([overlap(a, wanted) for a in stored], dtype=torch.float64)
    scale = gram.diagonal().rsqrt()  # profiles of unit length, for the sake of the numbers
    return scale * torch.linalg.lstsq(scale[:, None] * gram * scale, scale * right, driver="gelsd").solution


def stored_averages(run: Path) -> list[Stored]:
    """The averages by power functions in a run's checkpoints, oldest first. Raises `InputError` for fewer than two."""
    found = []
    for place in checkpoint.steps(run):
        saved = checkpoint.load(place)
        trainer = saved.config.get("trainer", {})
        laws = {"ema": trainer.get("ema"), **{f"ema_{key}": law for key, law in trainer.get("averages", {}).items()}}
        for name, law in laws.items():
            made = build("average", law) if law is not None else None
            if isinstance(made, PowerFunctionDecay) and saved.meta["ema_updates"] > 0:
                found.append(Stored(saved, name, Profile(saved.meta["ema_updates"], made.gamma)))
    if len(found) < 2:
        raise InputError(
            f"{run} has {len(found)} averages by power functions in its checkpoints; at least two are needed. Train "
            "with trainer.averages={short: {type: power_function, length: 0.05}, long: {type: power_function, length: "
            "0.1}} and trainer.keep_checkpoints=20."
        )
    return found


def reconstructed(stored: Sequence[Stored], length: float, step: int | None = None) -> dict[str, Tensor]:
    """The average of the given length at the last checkpoint's step, or at that of `step`, from the earlier ones."""
    usable = [each for each in stored if step is None or each.saved.step <= step]
    if not usable:
        raise InputError(f"step={step}: the first of the stored averages is of step {stored[0].saved.step}.")
    wanted = Profile(usable[-1].profile.steps, gamma_of(length))
    total: dict[str, Tensor] = {}
    last = usable[-1].saved.tensors(usable[-1].name)
    for factor, each in zip(coefficients([u.profile for u in usable], wanted).tolist(), usable, strict=True):
        for key, value in each.saved.tensors(each.name).items():
            if value.is_floating_point():
                total[key] = total.get(key, torch.zeros_like(value, dtype=torch.float64)) + factor * value.double()
    return {key: total[key].to(value.dtype) if key in total else value for key, value in last.items()}


def reconstruct_from(config: Mapping[str, Any]) -> None:
    """Makes the average that a resolved config of average_reconstruct asks for, and prints where it is."""
    length, out = build("average", {"type": "power_function", "length": config["length"]}).length, Path(config["out"])
    if checkpoint.steps(out):
        raise InputError(f"{out} holds checkpoints already: choose another place.")
    stored = stored_averages(Path(config["run_dir"]))
    weights = reconstructed(stored, length, config["step"])
    saved = [each.saved for each in stored if config["step"] is None or each.saved.step <= config["step"]][-1]
    kept = ("kind", "seed", "seconds", "ema_updates", "config")
    meta = {key: saved.meta[key] for key in kept} | {"reconstructed": {"length": length, "averages": len(stored)}}
    folder = checkpoint.save(out, saved.step, {"ema": weights, "model": saved.tensors("model")}, meta)
    print(f"The average of length {length:g} at step {saved.step}, from {len(stored)} stored ones. Written: {folder}.")
