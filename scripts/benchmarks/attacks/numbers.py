"""Numbers that are none: observations and weights with NaN, infinities and values far outside of the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import isd_policy
from isd_core.training import checkpoint
from isd_policy.backend import PolicyBackend
from scripts.benchmarks.attacks import material
from scripts.benchmarks.attacks.tally import UNHARMED, Tally, outcome

ODD = (np.nan, np.inf, -np.inf, 1e10, -1e10, 1e20, -1e20, 3e38, -3e38)


def finite(act: Callable[[], np.ndarray]) -> str:
    """`REFUSED`, `UNHARMED` for finite actions, or what else happened."""
    found: list[np.ndarray] = []
    happened = outcome(lambda: found.append(act()))
    if not found:
        return happened
    return UNHARMED if np.isfinite(found[0]).all() else "actions that are not finite"


def observed(policy: PolicyBackend, key: str, value: float, whole: bool) -> np.ndarray:
    """The policy's actions where one number of an observation, or all numbers of one key, are `value`."""
    seen = material.observation(0)
    seen[key] = seen[key].copy()
    seen[key][slice(None) if whole else 0] = value
    policy.reset(0)
    return policy.act(seen)


def numbers(out: Path, tries: int, seed: int) -> list[Tally]:
    """Every odd number in every key, in a policy and its export; one odd weight in each tensor of a policy."""
    place = material.write_checkpoint(out / "run", seed)
    saved = checkpoint.load(place)
    bundle = material.write_bundle(out / "policy.isd", saved)
    tallies = []
    for name, path in (("policy", bundle), ("ONNX export", material.write_onnx(out / "policy.export", bundle))):
        policy, tally = isd_policy.load(path), Tally(f"NaN, infinite and huge observations, {name}")
        for key in material.OBSERVATIONS:
            for value in ODD:
                for whole in (False, True):
                    about = f"{key}{'' if whole else '[0]'} = {value:g}"
                    tally.count(about, finite(lambda: observed(policy, key, value, whole)))  # noqa: B023 (called here)
        tallies.append(tally)
    weights, state = Tally("NaN and infinite weights"), saved.tensors("ema")
    for number, key in enumerate(state):
        for value in (torch.nan, torch.inf):
            changed = {other: tensor.clone() for other, tensor in state.items()}
            changed[key].view(-1)[0] = value
            run = out / f"weights{number}-{value}"
            checkpoint.save(run, 1, {"ema": changed}, saved.meta)
            happened = finite(lambda: material.load_and_act(run))  # noqa: B023 (called here)
            # Finite actions are right only where the weight has no part in them.
            weights.count(f"{key} = {value}", happened if happened != UNHARMED else UNHARMED)
    return [*tallies, weights]
