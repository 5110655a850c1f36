"""A small policy in all the forms in which one is kept, and demonstrations, made from a seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import isd_policy
from isd_core.presets import config_from
from isd_core.training import checkpoint
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.engines.gym.success import SuccessRule
from isd_envs.spec import EnvSpec
from isd_envs.task_configs import settings_of_data
from isd_policy.backend import PolicyBackend
from isd_policy.build import KIND, actions_of, build_policy, fit_normaliser
from isd_policy.deploy.bundle import card, folder
from isd_policy.deploy.export.writer import write_export
from isd_policy.loading import load_policy
from isd_policy.simulation import environment_of
from isd_policy.training import schema_of

OBSERVATIONS = {"object": 10, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
ACTION, SIDE = 7, 8
SMALL = {"network.widths": [8, 16], "network.embedding": 8, "network.frequency_dim": 8, "network.hidden": 8}
PENDULUM = GymSpec("Pendulum-v1", success=SuccessRule(reward=-1.0), max_steps=8)
"""An environment that needs no simulator."""


def write_demonstrations(path: Path, seed: int, pictures: bool = False, steps: int = 40) -> Path:
    """A robomimic file of Lift: three demonstrations of random numbers and, where asked for, of small pictures."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(EnvSpec("lift").env_args)
        data.attrs["total"] = 3 * steps
        for number in range(3):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = steps
            demo["actions"] = rng.uniform(-1, 1, (steps, ACTION))
            for key, size in OBSERVATIONS.items():
                demo[f"obs/{key}"] = rng.normal(size=(steps, size))
            if pictures:
                demo["obs/front_image"] = rng.integers(1, 256, (steps, SIDE, SIDE, 3), np.uint8)
    return path


def write_swings(path: Path, seed: int, steps: int = 40) -> Path:
    """A file of `PENDULUM` with random numbers."""
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(PENDULUM.env_args)
        for number in range(3):
            data[f"demo_{number}/actions"] = rng.uniform(-2, 2, (steps, 1))
            data[f"demo_{number}/obs/state"] = rng.normal(size=(steps, 3))
    return path


def write_checkpoint(run_dir: Path, seed: int, write: Callable[[Path, int], Path] = write_demonstrations) -> Path:
    """A run with one checkpoint of a small policy with random weights; returns the checkpoint's folder.

    write: makes the demonstrations.
    """
    data = write(run_dir.with_name(f"{run_dir.name}.hdf5"), seed)
    demonstrations = isd_policy.read(data)
    settings: dict[str, Any] = settings_of_data(demonstrations.env_args) | {"data": str(data), "seed": seed}
    settings |= {"network": "unet1d_small", "run_dir": str(run_dir)}
    config = config_from("policy_train", settings | SMALL)
    normaliser = fit_normaliser(demonstrations, actions_of(config))
    config["schema"] = schema_of(demonstrations, normaliser)
    policy = build_policy(config, normaliser)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # a network that starts at zero would hide what is done to its inputs
        for parameter in policy.net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    meta = {"kind": KIND, "seed": seed, "config": config, **checkpoint.provenance()}
    return checkpoint.save(run_dir, 1, {"model": policy.state_dict(), "ema": policy.state_dict()}, meta)


def card_of(saved: checkpoint.Checkpoint) -> dict[str, Any]:
    """The card of a bundle of that checkpoint."""
    policy = load_policy(saved)
    env = environment_of(saved.config)
    return card.card_of(policy, saved, env, weights="ema", nfe=1, initial_noise="gaussian", licence=None)


def write_bundle(out: Path, saved: checkpoint.Checkpoint, changes: Mapping[str, Any] | None = None) -> Path:
    """A bundle of the checkpoint. changes: to its card; its hashes are right all the same."""
    return folder.write(out, card_of(saved) | dict(changes or {}), saved.tensors("ema"))


def write_onnx(out: Path, bundle: Path) -> Path:
    """The ONNX export of a bundle, for one call of the network."""
    return write_export(folder.read(bundle), out, 1, None, ["onnx"], "float32").path


def observation(seed: int) -> dict[str, np.ndarray]:
    """One observation of that policy."""
    rng = np.random.default_rng(seed)
    return {key: rng.normal(size=size).astype(np.float32) for key, size in OBSERVATIONS.items()}


def act(policy: PolicyBackend, seed: int = 0) -> np.ndarray:
    """The first actions of a policy from an observation of that seed."""
    policy.reset(seed)
    return policy.act(
        observation(seed) if OBSERVATIONS.keys() <= policy.schema.shapes.keys() else policy.schema.zeros()
    )


def load_and_act(path: Path) -> np.ndarray:
    """The first actions of the policy that lies at `path`."""
    return act(isd_policy.load(path))
