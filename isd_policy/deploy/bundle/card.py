"""What a bundle says about its policy: schema with units and ranges, horizons, rates, origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from isd_core.training import checkpoint
from isd_envs.engines.pusht.spec import PushTSpec
from isd_envs.spec import EnvSpec, Spec
from isd_policy.actions import POSE
from isd_policy.build import KIND
from isd_policy.data.reader import ACTIONS
from isd_policy.policy import Policy

PARTS = ("task", "path", "sampler", "network", "parametrisation", "encoder", "actions", "horizons", "schema", "seed")
"""What of a run's config builds the policy."""
WHERE_GIVEN = ("delay", "guidance", "unconditional")
"""What else does where it is there: how it was told a prefix, and how it can be guided at sampling."""

UNITS = {
    "object": "m for positions, 1 for quaternions (x, y, z, w) and joint angles in rad",
    "eef_pos": "m",
    "eef_quat": "1, quaternion (x, y, z, w)",
    "eef_quat_site": "1, quaternion (x, y, z, w)",
    "gripper_qpos": "m",
    "gripper_qvel": "m/s",
    "joint_pos": "rad",
    "joint_pos_cos": "1",
    "joint_pos_sin": "1",
    "joint_vel": "rad/s",
    "agent_pos": "px",
    "block_pos": "px",
    "block_angle": "1, sine and cosine",
    "keypoints": "px",
}
"""Units of the observations of the environments here, by key without the robot's prefix."""


def card_of(
    policy: Policy,
    saved: checkpoint.Checkpoint,
    env: Spec | None,
    *,
    weights: str,
    nfe: int,
    initial_noise: str,
    candidates: int = 1,
    choose: str = "medoid",
    licence: str | None,
) -> dict[str, Any]:
    """The card of a policy. env: the environment of its demonstrations, None where they name none; licence: of the
    data, None if unknown.
    """
    return {
        "kind": KIND,
        "task": saved.config["task"]["name"],
        "nfe": nfe,
        "initial_noise": initial_noise,
        "candidates": candidates,
        "choose": choose,
        "control_rate": saved.config["schema"].get("rate") if env is None else env.control_freq,
        "horizons": asdict(policy.horizons),
        "observations": observations_of(policy, saved.config["schema"]),
        "actions": actions_of(policy, env, saved.config["schema"]),
        "longest_prefix": policy.longest_prefix,
        "parameters": sum(parameter.numel() for parameter in policy.parameters()),
        "data": {"licence": licence},
        "source": {
            "objective": saved.config["objective"]["type"],
            "git": saved.meta["git"],
            "versions": saved.meta["versions"],
            "sha256": saved.meta["sha256"][f"{weights}.safetensors"],
        },
        "weights": weights,
        "step": saved.step,
        "seed": saved.meta["seed"],
        "config": {part: saved.config[part] for part in PARTS}
        | {part: saved.config[part] for part in WHERE_GIVEN if part in saved.config},
    }


def observations_of(policy: Policy, schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """key -> shape, type, unit (null where it is not known) and, for numbers, the range in the training data, and their
    names where the data told them. schema: the config's.
    """
    labels, units = schema.get("labels", {}), schema.get("units", {})
    content: dict[str, dict[str, Any]] = {}
    low, high = policy.normaliser.observation.low.tolist(), policy.normaliser.observation.high.tolist()
    for key, shape in policy.schema.shapes.items():
        if key in policy.schema.pictures:
            content[key] = {"shape": list(shape), "type": "uint8", "unit": "0 to 255, red, green, blue"}
            continue
        size = shape[0]
        unit = units.get(key, UNITS.get(key.partition("_")[2] if key.startswith("robot") else key))
        content[key] = {"shape": [size], "type": "float32", "unit": unit, "low": low[:size], "high": high[:size]}
        content[key] |= {"names": labels[key]} if key in labels else {}
        low, high = low[size:], high[size:]
    return content


def actions_of(policy: Policy, env: Spec | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Names, units and ranges (those of the training data) of the robot's actions. schema: the config's."""
    low, high = policy.normaliser.limits.low, policy.normaliser.limits.high
    names, units = _names(env, len(low))
    if env is None:
        names = schema.get("labels", {}).get(ACTIONS, names)
        units = [schema.get("units", {}).get(ACTIONS)] * len(low)
    return {
        "size": len(low),
        "action_mode": None if env is None else env.action_mode,
        "names": list(names),
        "units": list(units),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def _names(env: Spec | None, size: int) -> tuple[Sequence[str], Sequence[str | None]]:
    """The name and the unit of each number of an action; units are None where they are not known."""
    if isinstance(env, EnvSpec):
        return _arms(env, size)
    if isinstance(env, PushTSpec):
        return ("x", "y"), ("px", "px")
    return [f"action {i}" for i in range(size)], [None] * size


def _arms(env: EnvSpec, size: int) -> tuple[list[str], list[str]]:
    arms = range(size // POSE)
    parts: tuple[str, ...] = ("x", "y", "z", "rotation x", "rotation y", "rotation z", "gripper")
    if env.action_mode == "delta":
        units = [f"{env.position_scale:g} m"] * 3 + [f"{env.rotation_scale:g} rad"] * 3
        parts = tuple(part if part == "gripper" else f"change of {part}" for part in parts)
    else:
        units = ["m"] * 3 + ["rad, rotation vector"] * 3
    return [f"arm {arm} {part}" for arm in arms for part in parts], [*units, "-1 open, 1 closed"] * len(arms)


def licence_of(attributes: Mapping[str, Any]) -> str | None:
    """The licence that a data file's attributes name, in either spelling."""
    for key in ("licence", "license"):
        if key in attributes:
            return str(attributes[key])
    return None
