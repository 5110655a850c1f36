"""How far a graph's actions are from those of the policy that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from isd_core.support import seeds
from isd_policy.backend import Inputs, Prefix, check_finite
from isd_policy.normaliser import CONSTANT_RANGE
from isd_policy.policy import Policy

PART = 50
"""Rows of one call of the comparison."""

Graph = Callable[[Inputs], np.ndarray]


def random_inputs(policy: Policy, count: int, seed: int = 0) -> Inputs:
    """Observations over and beyond the range of the training data, noise, and prefixes of every length."""
    rng = seeds.numpy_rng(seed, "parity")
    scale = policy.normaliser.observation
    middle, half = ((scale.high + scale.low) / 2).cpu().numpy(), scale.half_range.cpu().numpy()
    lead = (count, policy.horizons.observation)
    state = (middle + half * rng.uniform(-1.5, 1.5, (*lead, len(middle)))).astype(np.float32)
    obs = {}
    for key, shape in policy.schema.shapes.items():
        if key in policy.schema.pictures:
            obs[key] = rng.integers(256, size=(*lead, *shape), dtype=np.uint8)
        else:
            obs[key], state = state[..., : shape[0]], state[..., shape[0] :]
    noise = rng.standard_normal((count, policy.horizons.prediction, policy.action_size)).astype(np.float32)
    prefix = None
    if (most := policy.longest_prefix) is not None:
        low, high = policy.action_range
        actions = rng.uniform(low, high, (count, most, len(low))).astype(np.float32)
        prefix = Prefix(actions, rng.integers(most + 1, size=count))
    return Inputs({key: np.ascontiguousarray(value) for key, value in obs.items()}, noise, prefix)


def part_of(inputs: Inputs, rows: slice) -> Inputs:
    """Some of the rows."""
    prefix = None if inputs.prefix is None else Prefix(*(values[rows] for values in inputs.prefix))
    return Inputs({key: value[rows] for key, value in inputs.obs.items()}, inputs.noise[rows], prefix)


def largest_differences(policy: Policy, graphs: Mapping[str, Graph], nfe: int, count: int) -> dict[str, float]:
    """Of each graph's actions from the policy's over `count` random observations, in half ranges of the actions.

    Raises `FloatingPointError` where actions are not finite.
    """
    inputs = random_inputs(policy, count)
    low, high = policy.action_range
    unit = np.maximum((high - low) / 2, CONSTANT_RANGE)
    worst = dict.fromkeys(graphs, 0.0)
    for i in range(0, count, PART):
        part = part_of(inputs, slice(i, i + PART))
        expected = check_finite(policy.infer(part, nfe))
        for name, graph in graphs.items():
            worst[name] = max(worst[name], float((np.abs(check_finite(graph(part)) - expected) / unit).max()))
    return worst


def program_graph(path: Path, batch: int | None) -> Graph:
    """A written program as a function of any number of rows."""
    module = torch.export.load(path).module()

    def call(inputs: Inputs) -> np.ndarray:
        rows = len(inputs.noise)
        size = rows if batch is None else batch
        parts = []
        with torch.inference_mode():
            for i in range(0, rows, size):
                part = part_of(inputs, slice(i, i + size))
                obs = {key: torch.from_numpy(value) for key, value in part.obs.items()}
                more = [torch.from_numpy(values) for values in (part.noise, *(part.prefix or ()))]
                parts.append(module(obs, *more).numpy())
        return np.concatenate(parts)

    return call
