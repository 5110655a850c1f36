"""A released iSD checkpoint as a run of this package, to sample from and to continue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.overrides import command_line
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_core.training.optimizer import optimizer_tensors
from isd_core.training.resume import CONTENT
from isd_image.build import HEAD, KIND, build_network
from isd_image.model import ChannelNormaliser, ImageModel
from isd_image.released import convert, weights_of
from isd_image.weights import read_weights

COMPAT = ("exact", "released")


def convert_from(config: dict[str, Any]) -> None:
    """Converts as a resolved config of image_convert says, and prints where the run is."""
    source, step, compat, scale, statistics = (
        config.pop(key) for key in ("source", "step", "compat", "latent_scale", "statistics")
    )
    if compat not in COMPAT:
        raise InputError(
            f"compat={compat} is unknown: exact (continue with the right clock) or released (as it was begun)."
        )
    run_dir = Path(config["run_dir"])
    if checkpoint.steps(run_dir):
        raise InputError(f"{run_dir} holds checkpoints already: choose another run_dir.")
    normaliser = _normaliser(scale, statistics, config["data"]["channels"])
    if statistics is not None:
        config[CONTENT] = {"codec": files.read_json(str(statistics))["codec"]}
    if compat == "released":
        _mix_clocks(config)
    if config["guidance"]["type"] == "interval":  # what the released network was told, in sampling as in training
        for part in (config, config["objective"]):
            part["guidance"] = {**part["guidance"], "one_outside": True}
    released = read_weights(Path(source), "the released network")
    model = ImageModel(build_network(config), normaliser)
    groups = {}
    for name in ("model", "ema"):
        model.net.load_state_dict(convert(weights_of(released, name, source), model.net))
        groups[name] = {key: value.clone() for key, value in model.state_dict().items()}
    tensors, layout = optimizer_tensors(build("optimizer", config["trainer"]["optimizer"]).build(model))
    meta = {
        "kind": KIND,
        "seed": config["seed"],
        "seconds": 0.0,
        "ema_updates": step,
        "optimizer": layout,
        "config": config,
        "converted": {"file": Path(source).name, "sha256": files.sha256(source), "compat": compat},
        **checkpoint.provenance(HEAD.packages),
    }
    folder = checkpoint.save(run_dir, step, groups | {"optimizer": tensors}, meta)
    more = " derivative=released_clock" if compat == "released" else ""
    print(
        f"Converted {source} (its optimiser's state is not taken over). Written: {folder}. Next: "
        + command_line("isd_image.sample", checkpoint=str(run_dir), nfe=2, out="samples.png")
        + f", or continue with python -m isd_image.train "
        f"and the same fields{more}."
    )


def _normaliser(scale: float | None, statistics: str | None, channels: int) -> ChannelNormaliser:
    """mean 0 and std 1 / scale, or the statistics of a cache."""
    if (scale is None) == (statistics is None):
        raise InputError(
            "The latent normalisation is missing: give latent_scale=0.18215 (Stable Diffusion's codec) or statistics= "
            "the cache.json of a cache made with the same codec, and not both."
        )
    if scale is not None:
        return ChannelNormaliser(torch.zeros(channels), torch.full((channels,), 1 / scale))
    index = files.read_json(str(statistics))
    if not isinstance(index, dict) or not {"mean", "std", "codec"} <= index.keys() or len(index["mean"]) != channels:
        raise InputError(f"statistics={statistics} has no mean and std of {channels} channels.")
    return ChannelNormaliser(torch.tensor(index["mean"]), torch.tensor(index["std"]))


def _mix_clocks(config: dict[str, Any]) -> None:
    """Training goes on with the released code's derivative (see `MixedClock`)."""
    rate = build("path", config["path"]).T
    mixed = {"type": "released_clock", "inner": config["derivative"], "rate": rate}
    config["derivative"] = mixed
    config["objective"]["derivative"] = mixed
