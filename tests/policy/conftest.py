"""Tiny demonstrations and policies, made by the tests themselves; a fixture that makes things is a function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from isd_core.training import checkpoint
from isd_envs.spec import EnvSpec
from isd_policy.build import build_policy
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.normaliser import MinMax
from isd_policy.policy import Normaliser, Policy

SIZES = {"object": 10, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks gain nothing from threads, and a busy machine punishes them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def sizes() -> dict[str, int]:
    """The observations of every file and policy here."""
    return dict(SIZES)


@pytest.fixture
def write_demos(tmp_path) -> Callable[..., Path]:
    """Writes a robomimic file of Lift with random numbers; demonstration i has lengths[i] steps."""

    def write(lengths=(12, 20, 30), action_size=7, masks=None, seed=0) -> Path:
        path = tmp_path / "demos.hdf5"
        rng = np.random.default_rng(seed)
        with h5py.File(path, "w") as file:
            data = file.create_group("data")
            data.attrs["env_args"] = json.dumps(EnvSpec("lift").env_args)
            data.attrs["total"] = sum(lengths)
            for i, length in enumerate(lengths):
                demo = data.create_group(f"demo_{i}")
                demo.attrs["num_samples"] = length
                demo["actions"] = rng.uniform(-1, 1, (length, action_size))
                for key, size in SIZES.items():
                    demo[f"obs/{key}"] = rng.normal(size=(length, size))
            for name, members in (masks or {}).items():
                file[f"mask/{name}"] = np.array([member.encode() for member in members], dtype="S16")
        return path

    return write


@pytest.fixture
def demo_file(write_demos) -> Path:
    return write_demos()


@pytest.fixture
def demonstrations() -> Callable[..., Demonstrations]:
    """Episodes in which every number is 1000 * episode + step, so that a window shows where it comes from."""

    def make(lengths, sizes=None, action_size=2) -> Demonstrations:
        rows = np.concatenate([1000.0 * e + np.arange(n) for e, n in enumerate(lengths)]).astype(np.float32)[:, None]
        return Demonstrations(
            observations={key: np.repeat(rows, size, axis=1) for key, size in (sizes or {"object": 3}).items()},
            actions=np.repeat(rows, action_size, axis=1),
            lengths=np.array(lengths),
            names=tuple(f"demo_{i}" for i in range(len(lengths))),
            env_args={"env_name": "Lift"},
            source="memory",
        )

    return make


@pytest.fixture
def config() -> dict:
    """A resolved training config of a very small policy for Lift, as a checkpoint holds it."""
    path = {"type": "linear"}
    return {
        "task": {"name": "lift"},
        "path": path,
        "sampler": {"type": "flow_map", "path": path},
        "network": {
            "type": "unet1d",
            "widths": [8, 16],
            "embedding": 8,
            "frequency_dim": 8,
            "hidden": 8,
        },
        "parametrisation": {"type": "plain"},
        "encoder": {"type": "observations"},
        "actions": {"action_mode": None, "representation": {"type": "plain"}},
        "horizons": {"observation": 2, "prediction": 16, "execution": 8},
        "schema": {
            "observations": {key: [size] for key, size in SIZES.items()},
            "action": 7,
            "constant": [],
            "env_args": EnvSpec("lift").env_args,
        },
        "seed": 0,
    }


@pytest.fixture
def normaliser() -> Normaliser:
    """Scales that are not the identity."""
    size = sum(SIZES.values())
    return Normaliser(
        MinMax(torch.full((size,), -3.0), torch.full((size,), 5.0)),
        MinMax(torch.full((7,), -0.5), torch.full((7,), 0.9)),
    )


@pytest.fixture
def policy(config, normaliser) -> Policy:
    """A policy with random weights."""
    return build_policy(config, normaliser).eval()


@pytest.fixture
def save_policy(tmp_path, policy, config) -> Callable[..., Path]:
    """Writes a checkpoint of the policy, like the trainer's, and returns the run's folder."""

    def save(state=None, **meta) -> Path:
        state = policy.state_dict() if state is None else state
        meta = {"kind": "policy", "seed": 0, "config": config} | meta
        checkpoint.save(tmp_path / "run", 1, {"model": state, "ema": state}, meta)
        return tmp_path / "run"

    return save


@pytest.fixture
def observations() -> Callable[[int], list[dict[str, np.ndarray]]]:
    """n random observations of Lift."""

    def make(n: int) -> list[dict[str, np.ndarray]]:
        rng = np.random.default_rng(5)
        return [{key: rng.normal(size=size) for key, size in SIZES.items()} for _ in range(n)]

    return make
