"""Networks of both heads with any objective and a random batch, for measurements that need no data."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from isd_core.network import Cond
from isd_core.objectives.base import Objective
from isd_core.support.cli import CONFIGS, compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES, build
from isd_core.velocities import Averaged, Teacher
from isd_image.build import build_network as build_image_network
from isd_policy.build import build_encoder
from isd_policy.build import build_network as build_policy_network

OBSERVATIONS, ACTION = {"object": [10], "robot": [9]}, 7  # sizes of Lift
TEACHER = "teacher"
HEAD_STD = 0.02  # of random weights where a network starts at zero: an untrained DiT's derivative would be 0


@dataclass(frozen=True)
class Example:
    """A network, an objective on it, data x [B, ...] and conditioning."""

    net: nn.Module
    objective: Any
    x: Tensor
    cond: Cond


def objectives(policies: bool) -> list[str]:
    """The names of configs/objective, with or without those that are for policies alone."""
    names = sorted(path.stem for path in (CONFIGS / "objective").glob("*.yaml"))
    return [name for name in names if policies or ROLES["objective"].get(_read(name)["type"]).head != "policy"]


def teachers_place(name: str) -> str | None:
    """The field of an objective's config that names a teacher's checkpoint; None where it has no teacher."""
    slots = _read(name).items()
    places = [key for key, value in slots if isinstance(value, Mapping) and value.get("type") == TEACHER]
    return places[0] if places else None


@cache
def _read(name: str) -> dict[str, Any]:
    read = OmegaConf.to_container(OmegaConf.load(CONFIGS / "objective" / f"{name}.yaml"))
    return cast(dict[str, Any], read)


def is_policy(network: str) -> bool:
    """Whether a name of configs/network is of a policy's network; `InputError` for an unknown one."""
    target = resolved(compose_config("image_train", [f"network={network}", "run_dir=unused"]))["network"]["type"]
    return ROLES["network"].get(target).head == "policy"


def example(network: str, objective: str, batch: int, words: Sequence[str] = ()) -> Example:
    """A network of either head by its config's name, an objective by its own, and a random batch.

    words: further overrides. A teacher is a copy of the network. Raises `InputError` for an objective of policies on a
    network of images.
    """
    torch.manual_seed(0)
    words = [f"network={network}", f"objective={objective}", "run_dir=unused", *_teacher_word(objective), *words]
    if is_policy(network):
        config = resolved(compose_config("policy_train", ["data=unused", *words]))
        config["schema"] = {"observations": OBSERVATIONS, "action": ACTION, "constant": []}
        net = build_policy_network(config)
        shape: tuple[int, ...] = (config["horizons"]["prediction"], ACTION)
        cond = {"obs": torch.randn(batch, build_encoder(config).size)}
    else:
        if objective not in objectives(policies=False):
            raise InputError(f"objective={objective} is for policies, network={network} is for images.")
        data = "digits" if network == "dit_digits" else "imagenet256"
        config = resolved(compose_config("image_train", [f"data={data}", "guidance=none", *words]))
        net, sizes = build_image_network(config), config["data"]
        shape = (sizes["channels"], sizes["size"], sizes["size"])
        cond = {"label": torch.arange(batch) % max(1, sizes["classes"])}
    for parameter in net.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=HEAD_STD)
    return Example(net, taught(config["objective"], copy.deepcopy(net)), torch.randn(batch, *shape), cond)


def _teacher_word(objective: str) -> list[str]:
    place = teachers_place(objective)
    return [] if place is None else [f"objective.{place}.checkpoint=unused"]


def taught(config: Mapping[str, Any], teacher: nn.Module) -> Objective:
    """The objective of a config, with `teacher`, which is frozen, where it names a teacher's checkpoint or asks for an
    average of the run."""
    places = [key for key, value in config.items() if isinstance(value, Mapping) and value.get("type") == TEACHER]
    plain = {key: value for key, value in config.items() if key not in places}
    frozen = Teacher(teacher.eval().requires_grad_(False)) if places else None
    objective: Objective = build("objective", plain, **dict.fromkeys(places, frozen))
    for source in objective.sources():
        if isinstance(source, Averaged):
            source.hold(teacher)
    return objective
