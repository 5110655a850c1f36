"""A new policy for LeRobot's training: its config by words as on the command line, its scales by a set's statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isd_core.support.cli import compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.overrides import Override
from isd_core.training.checkpoint import provenance
from isd_policy.actions import Plain
from isd_policy.build import actions_of
from isd_policy.data.lerobot.features import ACTION
from isd_policy.data.reader import ACTIONS
from isd_policy.deploy.pretrained.features import Inputs, shapes_of_features
from isd_policy.horizons import Horizons
from isd_policy.normaliser import MinMax
from isd_policy.policy import Normaliser

READ = (
    *("objective", "network", "path", "parametrisation", "times", "derivative", "delay", "weighting", "discrepancy"),
    *("guidance", "sampler", "encoder", "unconditional"),
    *("trainer.optimizer", "trainer.schedule", "trainer.warmup", "trainer.clip_norm", "trainer.ema"),
    "trainer.precision",
)
"""What of `isd_policy.train` LeRobot's training reads: data, steps, batches and checkpoints are its own."""


def config_of(settings: Sequence[str], horizons: Horizons) -> dict[str, Any]:
    """The resolved config of a policy and its training, without what the data decide.

    settings: words of `python -m isd_policy.train`, as `network=unet1d_small`. Raises `InputError` for one that nothing
    would read.
    """
    for word in settings:
        override = Override.of(word)
        target = override.package or override.key
        if not any(target == name or target.startswith(f"{name}.") for name in READ):
            raise InputError(
                f"policy.settings: `{word}` would do nothing here. The horizons are policy.n_obs_steps, policy.horizon "
                f"and policy.n_action_steps; steps, batch_size and seed are LeRobot's. Settings are: {', '.join(READ)}."
            )
    chosen = {f"horizons.{name}": getattr(horizons, name) for name in ("observation", "prediction", "execution")}
    return resolved(compose_config("policy_train", ["task=own", "data=lerobot", *settings], values=chosen))


def complete(
    config: Mapping[str, Any],
    inputs: Inputs,
    features: Mapping[str, Sequence[int]],
    statistics: Mapping[str, Mapping[str, Any]],
    *,
    data: str,
    seed: int,
    rate: float | None,
    names: Mapping[str, Any],
) -> tuple[dict[str, Any], Normaliser]:
    """The config with what the data decide, and the policy's scales.

    features, statistics, names: of LeRobot's features by name, the actions among them: shape, `min` and `max`, names of
    the numbers. Raises `InputError` where statistics are missing.
    """
    if not isinstance(actions_of(config), Plain):
        raise InputError("LeRobot's statistics are of the robot's own actions: leave actions=recorded.")
    shapes = shapes_of_features(features, inputs)
    numbers = [feature for feature, (key,) in inputs.items() if len(shapes[key]) == 1]
    limits = MinMax(*_range([ACTION], statistics))
    normaliser = Normaliser(MinMax(*_range(numbers, statistics)), MinMax(limits.low, limits.high))
    labels = {key: _listed(names.get(feature), shapes[key]) for feature, (key,) in inputs.items() if feature in numbers}
    labels[ACTIONS] = _listed(names.get(ACTION), [limits.size])
    schema = {
        "observations": shapes,
        "action": limits.size,
        "constant": normaliser.action.constant,
        "env_args": None,
        "rate": rate,
    }
    if known := {key: found for key, found in labels.items() if found}:
        schema["labels"] = known
    return {**config, "data": data, "seed": seed, "schema": schema}, normaliser


def blank_normaliser(config: Mapping[str, Any]) -> Normaliser:
    """Scales of the right sizes for a policy whose own are about to be loaded."""
    schema = config["schema"]
    state = sum(shape[0] for shape in schema["observations"].values() if len(shape) == 1)
    high = torch.ones(actions_of(config).size(schema["action"]))
    high[schema["constant"]] = 0
    return Normaliser(
        _unit(torch.ones(state)), MinMax(torch.zeros_like(high), high), _unit(torch.ones(schema["action"]))
    )


def origin_of(settings: Sequence[str]) -> dict[str, Any]:
    """What a new policy is made with."""
    return {"settings": list(settings), **provenance(("lerobot",))}


def _unit(high: Tensor) -> MinMax:
    return MinMax(torch.zeros_like(high), high)


def _range(features: Sequence[str], statistics: Mapping[str, Mapping[str, Any]]) -> tuple[Tensor, Tensor]:
    """The smallest and the largest numbers of features, joined, [d] each."""
    ends: list[Tensor] = []
    for end in ("min", "max"):
        parts = []
        for feature in features:
            if end not in statistics.get(feature, {}):
                raise InputError(
                    f"The data set has no statistics `{end}` of {feature}: compute them by LeRobot's tools."
                )
            parts.append(torch.from_numpy(np.asarray(statistics[feature][end], np.float32).reshape(-1).copy()))
        ends.append(torch.cat(parts) if parts else torch.zeros(0))
    return ends[0], ends[1]


def _listed(names: Any, shape: Sequence[int]) -> list[str] | None:
    """The names of a feature's numbers, a list with or without a title; None where there are not as many."""
    names = next(iter(names.values()), None) if isinstance(names, Mapping) else names
    return list(map(str, names)) if isinstance(names, list | tuple) and [len(names)] == list(shape) else None
