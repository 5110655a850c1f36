"""Autoencoders of the diffusers library: AutoencoderKL and AutoencoderTiny."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from isd_core.support.errors import InputError
from isd_core.support.fields import Size
from isd_core.support.registry import register
from isd_image.codecs.base import NetworkCodec, guarded


def load_pretrained(kind: str, source: str, name: str) -> nn.Module:
    """A diffusers autoencoder from a folder or, with a network connection, from the hub."""
    try:
        import diffusers
    except ImportError as error:
        raise InputError(f"The codec `{name}` needs the package diffusers: pip install 'isd-flow[image]'.") from error
    if not source:
        raise InputError(f"The codec `{name}` has no weights: set codec.source to a folder or a hub name.")
    return guarded(lambda: getattr(diffusers, kind).from_pretrained(source), name, source)


def hash_state(network: nn.Module) -> str:
    """A SHA-256 over names and values, so that the same weights from a folder and from the hub are the same."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


class Gaussian(NetworkCodec):
    """A codec around an AutoencoderKL network: its latents are Gaussian, so encoding gives their mean and spread."""

    network: Any

    @torch.no_grad()
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        posterior = self.network.encode(images).latent_dist
        return posterior.mean, posterior.std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return self.network.decode(latents).sample


@register("codec", "kl")
class KL(Gaussian):
    """AutoencoderKL, e.g. `stabilityai/sd-vae-ft-mse`: 4 channels, 8 times smaller; latents are Gaussian.

    Latents are kept in the autoencoder's own units; the model's normaliser scales them.
    """

    def __init__(self, name: str, source: str, channels: Size, factor: Size) -> None:
        network = load_pretrained("AutoencoderKL", source, name)
        super().__init__(network, name, channels, factor, hash_state(network))


@register("codec", "tiny")
class Tiny(NetworkCodec):
    """AutoencoderTiny, e.g. `madebyollin/taesd`: deterministic, small and fast."""

    network: Any

    def __init__(self, name: str, source: str, channels: Size, factor: Size) -> None:
        network = load_pretrained("AutoencoderTiny", str(source), name)
        super().__init__(network, name, channels, factor, hash_state(network))

    @torch.no_grad()
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network.encode(images).latents, None

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return self.network.decode(latents).sample
