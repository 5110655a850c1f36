"""Trained policies from disk. Imports neither hydra, nor a simulator, nor a reader of demonstrations."""

from __future__ import annotations

from pathlib import Path

from isd_core import checkpoint
from isd_core.errors import InputError
from isd_policy.build import KIND, build_policy, normaliser_of
from isd_policy.policy import Policy

WEIGHTS = ("ema", "model")


def load(path: str | Path, weights: str = "ema", device: str = "cpu") -> Policy:
    """The policy of a run (its last checkpoint), of one checkpoint's folder, or of a file in it, ready to act.

    weights: `ema`, the average, or `model`, the last ones. Raises `InputError` when there is no policy there, when its
    bytes are not those that were written, and when weights and config do not belong together.
    """
    return load_checkpoint(checkpoint.load(path), weights, device)


def load_checkpoint(saved: checkpoint.Checkpoint, weights: str = "ema", device: str = "cpu") -> Policy:
    """The policy of an open checkpoint (see `load`)."""
    if saved.meta.get("kind") != KIND:
        raise InputError(f"{saved.path} is a checkpoint of kind `{saved.meta.get('kind')}`; expected one of a policy.")
    if weights not in WEIGHTS:
        raise InputError(f"weights={weights} is unknown: `ema` is the average, `model` the last weights.")
    state = saved.tensors(weights)
    policy = build_policy(saved.config, normaliser_of(state, str(saved.path)))
    try:
        policy.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"The weights in {saved.path} do not fit the network of its config: {error}") from error
    return policy.to(device).eval()
