"""Policies from resolved configs.

A config's `schema` says what the data decided: {"observations": {key: shape}, "action": the robot's size,
"constant": the dimensions of the encoded action that never change, "env_args", "rate"}, and where they are known the
"labels" and the "units" of the numbers by key, those of the robot's actions by `actions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isd_core import parametrisation, sampling
from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.fields import Index, Size
from isd_core.support.registry import ROLES, build
from isd_core.training import heads
from isd_policy import networks, objectives
from isd_policy.actions import ActionRepresentation
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.delays import DelayLaw, NoPrefix, check_delay
from isd_policy.encoder import ObservationEncoder
from isd_policy.horizons import horizons_of
from isd_policy.normaliser import MinMax
from isd_policy.observations import ObservationSchema
from isd_policy.policy import Normaliser, Policy

KIND = "policy"
MEMBERS = (parametrisation, sampling, networks, objectives)
"""Imported so that what a config names is registered."""
PARTS = ("observation", "action.scale", "limits")
STATISTICS = tuple(f"normaliser.{part}.{name}" for part in PARTS for name in ("low", "high"))


PARTS_OF_CONFIG = {
    "path": dict[str, Any],
    "sampler": dict[str, Any],
    "network": dict[str, Any],
    "parametrisation": dict[str, Any],
    "encoder": dict[str, Any],
    "actions.representation": dict[str, Any],
    "horizons.observation": Size,
    "horizons.prediction": Size,
    "horizons.execution": Size,
    "schema.observations": dict[str, list[Size]],
    "schema.action": Size,
    "schema.constant": list[Index],
    "schema.env_args": dict[str, Any] | None,
    "task.name": str,
    "seed": Index,
}
"""What of a saved config builds a policy, and says which environment it is for."""


def build_policy(config: Mapping[str, Any], normaliser: Normaliser) -> Policy:
    """The policy that `config` describes (network, encoder, path, sampler, actions, horizons, schema).

    Its first weights depend on `config["seed"]` alone; torch's own random numbers go on as if nothing had been drawn.
    """
    with seeds.forked(seeds.derive(config["seed"], "initial weights")):
        encoder = build_encoder(config)
        network = build_network(config, encoder.size)
    if normaliser.action.size != (size := learned_size(config)):
        raise InputError(
            f"The normaliser's statistics are of {normaliser.action.size} numbers an action; the network has {size}."
        )
    return Policy(
        network,
        normaliser,
        build("sampler", config["sampler"]),
        horizons_of(config),
        schema_of(config),
        encoder,
        actions_of(config),
        delay=delay_of(config),
    )


def build_encoder(config: Mapping[str, Any]) -> ObservationEncoder:
    """The encoder of a config's observations, with fresh weights."""
    horizon = config["horizons"]["observation"]
    encoder: ObservationEncoder = build("encoder", config["encoder"], schema=schema_of(config), horizon=horizon)
    return encoder


def build_network(config: Mapping[str, Any], condition_size: int | None = None) -> nn.Module:
    """The network of a config, with fresh weights. condition_size: what its encoder gives (asked of one if None)."""
    path, told = build("path", config["path"]), {}
    if delay_of(config).told:
        name = config["network"]["type"]
        if "prefix_time" not in ROLES["network"].get(name).takes:
            raise InputError(
                f"delay={config['delay']['type']} gives the network the first actions of a chunk, but network={name} "
                "has no input for them: choose unet1d or dit1d, give its constructor a parameter prefix_time, or leave "
                "delay=none."
            )
        told["prefix_time"] = path.end
    net = build(
        "network",
        config["network"],
        action_size=learned_size(config),
        condition_size=build_encoder(config).size if condition_size is None else condition_size,
        horizon=config["horizons"]["prediction"],
        clock=path.clock,
        **told,
    )
    network: nn.Module = build("parametrisation", config["parametrisation"], net=net, path=path)
    return network


def delay_of(config: Mapping[str, Any]) -> DelayLaw:
    """The law of the actions that a policy is told in training; none in configs from before there were any."""
    law: DelayLaw = build("delay", config["delay"]) if "delay" in config else NoPrefix()
    horizons = horizons_of(config)
    check_delay(law, horizons.prediction - horizons.observation + 1)
    return law


def learned_size(config: Mapping[str, Any]) -> int:
    """The network's numbers of an action: those of the representation that are not constant in the data."""
    return actions_of(config).size(config["schema"]["action"]) - len(config["schema"]["constant"])


def schema_of(config: Mapping[str, Any]) -> ObservationSchema:
    """What the policy of a config sees."""
    return ObservationSchema.from_config(config["schema"]["observations"])


def actions_of(config: Mapping[str, Any]) -> ActionRepresentation:
    """How the actions of a config are written for its network."""
    representation: ActionRepresentation = build("representation", config["actions"]["representation"])
    return representation


def fit_normaliser(
    demonstrations: Demonstrations, actions: ActionRepresentation, episodes: np.ndarray | None = None
) -> Normaliser:
    """The scales of all steps of the demonstrations, of the actions as the network sees them, and the robot's range.

    episodes: the numbers of those whose steps count (None: all).
    """
    robot, state = torch.from_numpy(demonstrations.actions), torch.from_numpy(demonstrations.state)
    if episodes is not None:
        rows = torch.from_numpy(np.repeat(np.isin(np.arange(len(demonstrations)), episodes), demonstrations.lengths))
        robot, state = robot[rows], state[rows]
    scale = MinMax.fit(actions.encode(robot), actions.unscaled(robot.shape[1]))
    return Normaliser(MinMax.fit(state), scale, MinMax.fit(robot))


def normaliser_of(state: Mapping[str, Tensor], source: str) -> Normaliser:
    """The normaliser of saved weights; `InputError` when its statistics are not among them."""
    if absent := [name for name in STATISTICS if name not in state]:
        raise InputError(f"{source} has no normaliser statistics ({absent[0]}); it is not a whole policy.")
    return Normaliser(*(MinMax(*(state[f"normaliser.{part}.{name}"] for name in ("low", "high"))) for part in PARTS))


HEAD = heads.declare(
    heads.Head(
        KIND,
        build_network,
        resumable=("data", "unconditional", "evaluation"),
        packages=("gymnasium", "mujoco", "robosuite", "gym-pusht", "pymunk", "h5py"),
    )
)
