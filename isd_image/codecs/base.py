"""What an autoencoder has to offer, and the one that does nothing."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isd_core.support import files, seeds
from isd_core.support.errors import InputError
from isd_core.support.fields import Size
from isd_core.support.registry import register, role
from isd_image.weights import check_finite

PIXELS = "none"
"""The hash of weights that are not there: latents are pixels."""


@role("codec", "codecs")
class Codec(ABC):
    """Images [B, 3, H, W] in [-1, 1] to latents [B, channels, H / factor, W / factor] and back.

    `encode` gives the mean and the standard deviation of the latents, or the mean and None where the codec is
    deterministic. `weights` is a hash of what was loaded, so that caches of different codecs are told apart.
    """

    name: str
    channels: int
    factor: int
    weights: str

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]: ...

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor: ...

    @abstractmethod
    def to(self, device: torch.device) -> Codec: ...


def identity(codec: Codec) -> dict[str, Any]:
    """What has to be the same where latents are encoded and where they are decoded."""
    return {"name": codec.name, "channels": codec.channels, "factor": codec.factor, "weights": codec.weights}


def pixel_channels(channels: int, factor: int) -> int:
    """Channels of the images of a codec with these latents: 1 where grey pixels are kept as they are, otherwise 3."""
    return 1 if channels == 1 and factor == 1 else 3


@register("codec", "identity")
class Identity(Codec):
    """Pixels are their own latents. `channels` is 1 for grey images and 3 for colour."""

    factor = 1
    weights = PIXELS

    def __init__(self, name: str, channels: Size, factor: Size) -> None:
        if factor != 1:
            raise InputError(f"codec.factor={factor}: the identity leaves the size as it is; expected 1.")
        self.name, self.channels = name, channels

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return images, None

    def decode(self, latents: Tensor) -> Tensor:
        return latents

    def to(self, device: torch.device) -> Identity:
        return self


class NetworkCodec(Codec):
    """A codec around a network, in evaluation mode and without gradients.

    Raises `InputError` when the network's latents are not what the config says, and for weights that are not finite.
    """

    def __init__(self, network: nn.Module, name: str, channels: Size, factor: Size, weights: str) -> None:
        check_finite(network.state_dict(), f"codec `{name}`")
        self.network = network.eval().requires_grad_(False)
        self.name, self.channels, self.factor, self.weights = name, channels, factor, weights
        found = self.encode(torch.zeros(1, 3, 8 * factor, 8 * factor))[0].shape[1:]
        if tuple(found) != (channels, 8, 8):
            raise InputError(
                f"codec `{name}`: an image of side {8 * factor} becomes a latent of shape {list(found)}, the config "
                f"says {[channels, 8, 8]}. Correct codec.channels={channels} and codec.factor={factor}."
            )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        raise NotImplementedError

    def to(self, device: torch.device) -> NetworkCodec:
        self.network.to(device)
        return self


def existing(source: str | Path | None, name: str, how: str) -> Path:
    """`source` as a path that is there; `InputError` with how to get the weights otherwise."""
    if source is None or not Path(source).exists():
        given = "no codec.source was given" if source is None else f"codec.source={source} does not exist"
        raise InputError(f"The weights of the codec `{name}` are missing: {given}. {how}")
    return Path(source)


def hash_files(paths: list[Path]) -> str:
    """One SHA-256 over the hashes of several files, in their order."""
    if len(paths) == 1:
        return files.sha256(paths[0])
    joined = " ".join(files.sha256(path) for path in paths)
    return hashlib.sha256(joined.encode()).hexdigest()


def guarded(load: Callable[[], nn.Module], name: str, source: object) -> nn.Module:
    """`load()`, with its errors in one paragraph; torch's own random numbers go on as if nothing had been drawn."""
    try:
        with seeds.forked():
            return load()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        first = " ".join(str(error).split())[:300]
        raise InputError(
            f"The weights of the codec `{name}` cannot be loaded from {source}: {first}. Give codec.source "
            "a folder that holds them; a hub name needs a network connection the first time."
        ) from error
