"""Models and generators from resolved configs and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from isd_core import parametrisation, sampling
from isd_core.network import check_weights
from isd_core.sampling import with_guidance, with_inputs
from isd_core.support import seeds
from isd_core.support.device import pick_device
from isd_core.support.errors import InputError
from isd_core.support.fields import Classes, Size, check_parts
from isd_core.support.registry import build
from isd_core.training import checkpoint, heads
from isd_image import codecs, networks, optimizer, released
from isd_image.data import ImageData
from isd_image.generate import Generator
from isd_image.identity import check_codec, codec_of
from isd_image.model import ChannelNormaliser, ImageModel

KIND = "image"
PARTS_OF_CONFIG = {
    "path": dict[str, Any],
    "sampler": dict[str, Any],
    "network": dict[str, Any],
    "parametrisation": dict[str, Any],
    "guidance": dict[str, Any],
    "codec": dict[str, Any],
    "codec.factor": Size,
    "trainer": dict[str, Any],
    "data.channels": Size,
    "data.size": Size,
    "data.classes": Classes,
}
"""What of a saved config builds a generator."""
MEMBERS = (parametrisation, sampling, codecs, networks, optimizer, released)
"""Imported so that what a config names is registered."""


def build_network(config: Mapping[str, Any]) -> nn.Module:
    """The network that `config` describes (network, path, and the sizes of data), with fresh weights."""
    data = config["data"]
    path = build("path", config["path"])
    net = build(
        "network",
        config["network"],
        channels=data["channels"],
        size=data["size"],
        classes=data["classes"],
        clock=path.clock,
    )
    network: nn.Module = build("parametrisation", config["parametrisation"], net=net, path=path)
    return network


def build_model(config: Mapping[str, Any], data: ImageData) -> ImageModel:
    """A model to train on `data`. Its first weights depend on `config["seed"]` alone.

    torch's own random numbers go on as if nothing had been drawn.
    Raises `InputError` when the data's shape or classes are not those of the config.
    """
    expected = config["data"]
    shape = (expected["channels"], expected["size"], expected["size"])
    if data.shape != shape or data.classes != expected["classes"]:
        raise InputError(
            f"The data has images of shape {list(data.shape)} (channels, height, width) in {data.classes} classes, the "
            f"config says {list(shape)} and {expected['classes']}: correct data.channels, data.size, data.classes."
        )
    if data.classes == 0 and "null" in config["objective"].get("guidance", {}):
        raise InputError(
            "The data has no labels, so guidance has nothing to leave out: add guidance=none or choose other data."
        )
    with seeds.forked(seeds.derive(config["seed"], "initial weights")):
        network = build_network(config)
    return ImageModel(network, ChannelNormaliser(*data.statistics()), data.draw)


def build_codec(config: Mapping[str, Any], source: str | None = None) -> codecs.Codec:
    """The codec of a config. source: where its weights are, if not where the config says."""
    with seeds.forked():
        codec: codecs.Codec = build("codec", config["codec"] | ({} if source is None else {"source": source}))
    return codec


def open_checkpoint(path: str | Path) -> checkpoint.Checkpoint:
    """The checkpoint that `path` stands for; `InputError` unless it is one of images."""
    saved = checkpoint.load(path)
    if saved.meta["kind"] != KIND:
        raise InputError(f"{saved.path} is a checkpoint of kind `{saved.meta['kind']}`; expected one of images.")
    check_parts(saved.config, PARTS_OF_CONFIG, str(saved.path))
    return saved


def load_generator(
    path: str | Path,
    weights: str,
    device: str,
    codec_source: str | None = None,
    inputs: Mapping[str, float | None] | None = None,
    cfg_scale: float = 1.0,
) -> Generator:
    """The generator of a checkpoint. weights: "ema", "model" or a further average; device: as `trainer.device`.

    codec_source: where the codec's weights are, if not where the training's config says. inputs: further conditions of
    the network, the same for every sample, such as the guidance interval; those that are None are left out. cfg_scale:
    the scale of guidance at sampling, 1 for none.
    Raises `InputError` for a checkpoint of another kind, for weights that do not fit the config inside it or are not
    finite, and for another codec than the one that encoded the data.
    """
    saved = open_checkpoint(path)
    config = saved.config
    known = ["ema", "model", *(f"ema_{name}" for name in config["trainer"].get("averages", {}))]
    if weights not in known:
        raise InputError(
            f"weights={weights} is unknown in {saved.path}; known: {', '.join(known)} (model: the last weights)."
        )
    state = saved.tensors(weights)
    check_weights(partial(build_network, config), state, "net.", str(saved.path))
    with seeds.forked():
        network = build_network(config)
    model = ImageModel(network, _normaliser(state, saved.path))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"The weights in {saved.path} do not fit the network of its config: {error}") from error
    trained = build("guidance", config["guidance"])
    guided = with_guidance(build("sampler", config["sampler"]), cfg_scale, trained)
    sampler = with_inputs(guided, inputs or {}, model.net, trained)
    data, chosen = config["data"], pick_device(device)
    codec = build_codec(config, codec_source)
    if (recorded := codec_of(saved)) is not None:
        check_codec(recorded, codec, f"The data of {saved.path}")
    return Generator(
        model.to(chosen).eval(),
        sampler,
        codec.to(chosen),
        shape=(data["channels"], data["size"], data["size"]),
        classes=data["classes"],
    )


def _normaliser(state: Mapping[str, Tensor], path: Path) -> ChannelNormaliser:
    if not {"normaliser.mean", "normaliser.std"} <= state.keys():
        raise InputError(f"The checkpoint {path} has no latent statistics (normaliser.mean, normaliser.std).")
    return ChannelNormaliser(state["normaliser.mean"], state["normaliser.std"])


HEAD = heads.declare(
    heads.Head(
        KIND,
        build_network,
        resumable=("data", "unconditional", "grids"),
        packages=("pillow", "torchvision", "diffusers", "scikit-learn"),
    )
)
