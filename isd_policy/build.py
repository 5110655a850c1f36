"""Policies from resolved configs.

A config's `schema` says what the data decided: {"observations": {key: size}, "action": size, "env_args": ...}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isd_core import seeds
from isd_core.config import instantiate
from isd_core.errors import InputError
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.horizons import Horizons
from isd_policy.normaliser import MinMax
from isd_policy.policy import Normaliser, Policy

KIND = "policy"
STATISTICS = tuple(f"normaliser.{part}.{name}" for part in ("observation", "action") for name in ("low", "high"))


def build_network(config: Mapping[str, Any]) -> nn.Module:
    """The network that `config` describes (network, path, horizons, schema), with fresh weights."""
    horizons, schema = Horizons(**config["horizons"]), config["schema"]
    path = instantiate(config["path"])
    net = instantiate(
        config["network"],
        action_size=schema["action"],
        condition_size=horizons.observation * sum(schema["observations"].values()),
        horizon=horizons.prediction,
        clock=path.clock,
    )
    return instantiate(config["parametrisation"], net=net, path=path)


def build_policy(config: Mapping[str, Any], normaliser: Normaliser) -> Policy:
    """A policy with the given scales. Its first weights depend on `config["seed"]` alone."""
    torch.manual_seed(seeds.derive(config["seed"], "initial weights"))
    return Policy(
        build_network(config),
        normaliser,
        instantiate(config["sampler"]),
        Horizons(**config["horizons"]),
        config["schema"]["observations"],
    )


def fit_normaliser(demonstrations: Demonstrations) -> Normaliser:
    """The scales of all steps of the demonstrations."""
    observations = np.concatenate(list(demonstrations.observations.values()), axis=1)
    return Normaliser(MinMax.fit(torch.from_numpy(observations)), MinMax.fit(torch.from_numpy(demonstrations.actions)))


def normaliser_of(state: Mapping[str, Tensor], source: str) -> Normaliser:
    """The normaliser of saved weights; `InputError` when its statistics are not among them."""
    if absent := [name for name in STATISTICS if name not in state]:
        raise InputError(f"{source} has no normaliser statistics ({absent[0]}); it is not a whole policy.")
    observation_low, observation_high, action_low, action_high = (state[name] for name in STATISTICS)
    return Normaliser(MinMax(observation_low, observation_high), MinMax(action_low, action_high))
