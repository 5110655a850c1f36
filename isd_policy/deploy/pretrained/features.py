"""Between LeRobot's features and what a policy sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from isd_core.support.errors import InputError
from isd_policy.build import horizons_of, schema_of
from isd_policy.data.lerobot.features import ACTION, features_of, key_of
from isd_policy.deploy.pretrained.folder import TYPE
from isd_policy.observations import PICTURE_AXES, ObservationSchema

Inputs = dict[str, list[str]]
"""LeRobot's feature -> the policy's keys that it is, joined in this order."""
ENVIRONMENT = "observation.environment_state"


def inputs_of(schema: ObservationSchema, given: Mapping[str, str | Sequence[str]] | None = None) -> Inputs:
    """The features of a policy. given: them by the user; else as `isd_policy.data.convert` names them in a data set.

    Raises `InputError` where the given ones are not all keys of the policy, each once, or join a picture.
    """
    if not given:
        return {feature: list(keys) for feature, keys in features_of(schema).items()}
    inputs = {feature: [keys] if isinstance(keys, str) else list(keys) for feature, keys in given.items()}
    named = [key for keys in inputs.values() for key in keys]
    if sorted(named) != sorted(schema.shapes) or not all(inputs.values()):
        raise InputError(
            f"inputs={inputs}: expected every observation of the policy once; it sees {', '.join(schema.shapes)}."
        )
    for feature, keys in inputs.items():
        if len(keys) > 1 and (pictures := set(keys) & set(schema.pictures)):
            raise InputError(f"inputs: {feature} would join the picture `{min(pictures)}` to others; it stands alone.")
    return inputs


def inputs_of_features(features: Mapping[str, Any]) -> Inputs:
    """The same for a new policy, whose keys are LeRobot's names without their prefix."""
    inputs: Inputs = {}
    for feature in features:
        key = key_of(feature)
        if key is None or [key] in inputs.values():
            raise InputError(f"The feature {feature} is no observation, or has the name of another: leave it out.")
        inputs[feature] = [key]
    return inputs


def shapes_of_features(features: Mapping[str, Sequence[int]], inputs: Inputs) -> dict[str, list[int]]:
    """A new policy's key -> [d], or [H, W, C] for LeRobot's [C, H, W]."""
    shapes: dict[str, list[int]] = {}
    for feature, (key,) in inputs.items():
        shape = [int(size) for size in features[feature]]
        shapes[key] = [*shape[1:], shape[0]] if len(shape) == PICTURE_AXES else [math.prod(shape)]
    return shapes


def observations(
    batch: Mapping[str, Any], inputs: Mapping[str, Sequence[str]], schema: ObservationSchema, steps: int | None = None
) -> dict[str, Tensor]:
    """LeRobot's batch as the policy's observations, key -> [B, ...], or [B, steps, ...] where `steps` is given.

    Pictures are shares of 1 with the colours first there, bytes with the colours last here. Raises `InputError` for an
    absent feature and for one of another size.
    """
    obs: dict[str, Tensor] = {}
    for feature, keys in inputs.items():
        if feature not in batch:
            raise InputError(f"There is no `{feature}`, which the policy sees; there is: {', '.join(map(str, batch))}.")
        value = batch[feature]
        lead = (len(value),) if steps is None else (len(value), steps)
        if keys[0] in schema.pictures:
            height, width, channels = schema.shapes[keys[0]]
            picture = _shaped(feature, value, (*lead, channels, height, width))
            obs[keys[0]] = (picture * 255).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)
        else:
            sizes = [schema.shapes[key][0] for key in keys]
            parts = _shaped(feature, value, (*lead, sum(sizes))).float().split(sizes, dim=-1)
            obs |= zip(keys, parts, strict=True)
    return obs


def _shaped(feature: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    if value.numel() != math.prod(shape) or (len(shape) > PICTURE_AXES and value.shape[-3:] != shape[-3:]):
        raise InputError(f"`{feature}` has the shape {list(value.shape)}; the policy expects {list(shape)}.")
    return value.reshape(shape)


def fields_of(
    config: Mapping[str, Any], inputs: Inputs, origin: Mapping[str, Any], licence: str | None = None, **chosen: Any
) -> dict[str, Any]:
    """The fields of LeRobot's config of a policy. config: the one that builds it; origin: versions and git revision;
    chosen: nfe, initial_noise, candidates, choose.
    """
    schema, horizons = schema_of(config), horizons_of(config)
    return {
        "type": TYPE,
        "n_obs_steps": horizons.observation,
        "input_features": {feature: _feature(feature, keys, schema) for feature, keys in inputs.items()},
        "output_features": {ACTION: {"type": "ACTION", "shape": [config["schema"]["action"]]}},
        "push_to_hub": False,
        "license": licence,
        "horizon": horizons.prediction,
        "n_action_steps": horizons.execution,
        "settings": [],
        **chosen,
        "inputs": inputs,
        "resolved": dict(config),
        "origin": {"settings": [], **origin},
    }


def _feature(feature: str, keys: Sequence[str], schema: ObservationSchema) -> dict[str, Any]:
    if keys[0] in schema.pictures:
        height, width, channels = schema.shapes[keys[0]]
        return {"type": "VISUAL", "shape": [channels, height, width]}
    size = sum(schema.shapes[key][0] for key in keys)
    return {"type": "ENV" if feature == ENVIRONMENT else "STATE", "shape": [size]}
