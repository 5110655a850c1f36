"""Trained policies from disk. Imports neither hydra, nor a simulator, nor a reader of demonstrations."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from isd_core.network import check_weights
from isd_core.support.errors import InputError
from isd_core.support.fields import check_parts
from isd_core.training import checkpoint
from isd_policy.backend import PolicyBackend
from isd_policy.build import KIND, PARTS_OF_CONFIG, build_network, build_policy, normaliser_of
from isd_policy.deploy.bundle import folder as bundle_folder
from isd_policy.deploy.export import folder as export_folder
from isd_policy.deploy.export.onnx_policy import OnnxPolicy
from isd_policy.deploy.pretrained import folder as pretrained_folder
from isd_policy.policy import Policy

WEIGHTS = ("ema", "model")


def load(path: str | Path, weights: str | None = None, device: str = "cpu") -> PolicyBackend:
    """The policy of a bundle, of an export, of a run (its last checkpoint) or of one checkpoint, or of a file in one.

    A folder that LeRobot's training left, or a whole run of it, is as good.

    It is a `Policy`, and an `OnnxPolicy` for an export. weights: `ema`, the average (the default), or `model`, the last
    ones; a bundle holds one of them. Raises `InputError` when there is no policy there, when its bytes are not those
    that were written, and when weights and config do not belong together.
    """
    return load_saved(open_saved(path), weights, device)


def load_saved(saved: checkpoint.Checkpoint, weights: str | None = None, device: str = "cpu") -> PolicyBackend:
    """The policy of what `open_saved` returned (see `load`)."""
    if isinstance(saved, export_folder.Export):
        if device != "cpu":
            raise InputError(f"{saved.path} is an export for the processor; device={device} needs a bundle.")
        policy: PolicyBackend = OnnxPolicy.open(saved)
        policy.use(candidates=saved.meta.get("candidates"), choose=saved.meta.get("choose"))
        policy.source = saved
        return policy
    return load_policy(saved, weights, device)


def open_saved(path: str | Path) -> checkpoint.Checkpoint:
    """The bundle, export, folder of LeRobot's or checkpoint that `path` stands for, without its weights."""
    for kind in (bundle_folder, export_folder):
        if kind.MANIFEST.find(path) is not None:
            return kind.read(path)
    if pretrained_folder.find(path) is not None:
        return pretrained_folder.read(path)
    return checkpoint.load(path)


def load_policy(saved: checkpoint.Checkpoint, weights: str | None = None, device: str = "cpu") -> Policy:
    """The policy of an open bundle or checkpoint (see `load`), with a bundle's NFE and initial noise."""
    if saved.meta.get("kind") != KIND:
        raise InputError(f"{saved.path} is a checkpoint of kind `{saved.meta.get('kind')}`; expected one of a policy.")
    weights = saved.meta.get("weights", WEIGHTS[0]) if weights is None else weights
    if weights not in WEIGHTS:
        raise InputError(f"weights={weights} is unknown: `ema` is the average, `model` the last weights.")
    check_parts(saved.config, PARTS_OF_CONFIG, str(saved.path))
    state = saved.tensors(weights)
    check_weights(partial(build_network, saved.config), state, "net.", str(saved.path))
    policy = build_policy(saved.config, normaliser_of(state, str(saved.path)))
    try:
        policy.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"The weights in {saved.path} do not fit the network of its config: {error}") from error
    policy.use(*(saved.meta.get(key) for key in ("nfe", "initial_noise", "candidates", "choose")))
    policy.source, policy.pack = saved, partial(_pack, weights)
    return policy.to(device).eval()


def _pack(weights: str, policy: Policy, out: Path, nfe: int, licence: str | None) -> None:
    from isd_policy.deploy.bundle.packing import pack  # imports environments, which loading does without

    pack(
        policy,
        out,
        weights=weights,
        nfe=nfe,
        initial_noise=policy.initial_noise,
        candidates=policy.candidates,
        choose=policy.choose,
        licence=licence,
    )
