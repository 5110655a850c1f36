"""VA-VAE (2501.01423): the latent-diffusion autoencoder of f = 16 with 32 channels, from its own checkpoint.

The checkpoint has the names of the latent-diffusion code; `rename` translates them to diffusers' AutoencoderKL,
which has the same layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from isd_core.support.errors import InputError
from isd_core.support.fields import Size
from isd_core.support.registry import register
from isd_image.codecs.base import existing, guarded, hash_files
from isd_image.codecs.hub import Gaussian
from isd_image.weights import read_weights

HOW = "Download vavae-imagenet256-f16d32-dinov2.pt of hustvl/vavae-imagenet256-f16d32-dinov2 from the hub."
WIDTHS = (128, 128, 256, 256, 512)
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


@register("codec", "va_vae")
class VAVAE(Gaussian):
    """f16d32; latents are Gaussian. `source` is the checkpoint file (.pt or .safetensors)."""

    def __init__(self, name: str, source: str | None, channels: Size, factor: Size) -> None:
        path = existing(source, name, HOW)
        network = guarded(lambda: load(path, channels, WIDTHS), name, path)
        super().__init__(network, name, channels, factor, hash_files([path]))


def architecture(channels: int, widths: tuple[int, ...]) -> nn.Module:
    """The autoencoder with fresh weights: two residual blocks a level, attention at the smallest level and between."""
    import diffusers

    levels = len(widths)
    network: Any = diffusers.AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * (levels - 1) + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * (levels - 1),
        layers_per_block=2,
        latent_channels=channels,
    )
    return network


def load(path: Path, channels: int, widths: tuple[int, ...]) -> nn.Module:
    """The autoencoder with the checkpoint's weights. Parts of it that only training needs are left out."""
    state = read_weights(path, "the codec VA-VAE")
    state = state.get("state_dict", state)
    network = architecture(channels, widths)
    missing, _ = network.load_state_dict(rename(state, len(widths)), strict=False)
    if missing:
        raise InputError(f"{path} lacks {len(missing)} tensors of the autoencoder, e.g. {missing[0]}. {HOW}")
    return network


def rename(state: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Latent-diffusion names to diffusers' names; 1 x 1 convolutions of attention become matrices."""
    renamed = {}
    for key, value in state.items():
        if (new := translate(key, levels)) is not None:
            is_matrix = ".to_" in new and value.ndim == 4
            renamed[new] = value[:, :, 0, 0] if is_matrix else value
    return renamed


def translate(key: str, levels: int) -> str | None:
    """One name; None for what is no part of the encoder or decoder."""
    if re.fullmatch(r"(post_)?quant_conv\.(weight|bias)", key):
        return key
    if not (match := re.fullmatch(r"(encoder|decoder)\.(.+)\.(weight|bias)", key)):
        return None
    side, inner, kind = match.groups()
    layer = _layer(inner, levels)
    return None if layer is None else f"{side}.{layer}.{kind}"


def _layer(inner: str, levels: int) -> str | None:
    if inner in ("conv_in", "conv_out"):
        return inner
    if inner == "norm_out":
        return "conv_norm_out"
    if m := re.fullmatch(r"mid\.block_([12])\.(\w+)", inner):
        return f"mid_block.resnets.{int(m[1]) - 1}.{_residual(m[2])}"
    if m := re.fullmatch(r"mid\.attn_1\.(\w+)", inner):
        return f"mid_block.attentions.0.{ATTENTION[m[1]]}"
    if m := re.fullmatch(r"(down|up)\.(\d+)\.(block|attn|downsample|upsample)\.(?:(\d+)\.)?(\w+)", inner):
        way, level, part, index, rest = m.groups()
        block = f"{way}_blocks.{level if way == 'down' else levels - 1 - int(level)}"
        if part == "block":
            return f"{block}.resnets.{index}.{_residual(rest)}"
        if part == "attn":
            return f"{block}.attentions.{index}.{ATTENTION[rest]}"
        return f"{block}.{part}rs.0.{rest}"
    return None


def _residual(name: str) -> str:
    return "conv_shortcut" if name == "nin_shortcut" else name
