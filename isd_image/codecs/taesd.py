"""The TAESD family (github.com/madebyollin/taesd) from its original pair of files.

The files are `<name>_encoder` and `<name>_decoder`.

diffusers' AutoencoderTiny has no place for the newer members' pooled branch, so the two networks are built here from
the names and shapes of their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from isd_core.support.errors import InputError
from isd_core.support.fields import Size
from isd_core.support.registry import register
from isd_image.codecs.base import NetworkCodec, existing, guarded, hash_files
from isd_image.weights import read_weights


class Residual(nn.Module):
    """relu(conv(x) + x) with three convolutions; `pooled` first adds a branch of 1 x 1 convolutions with group norm."""

    def __init__(self, width: int, pooled: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(*_convolutions(width))
        self.pool = _pooled_branch(width) if pooled else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


def _convolutions(width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return layers[:-1]


def _pooled_branch(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, 4 * width, 1, bias=False),
        nn.GroupNorm(4, 4 * width),
        nn.ReLU(),
        nn.Conv2d(4 * width, width, 1, bias=False),
    )


class SoftClamp(nn.Module):
    """3 tanh(x / 3): the decoder's first layer."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


def build(state: Mapping[str, Tensor], stride: int, between: Callable[[int], nn.Module]) -> nn.Sequential:
    """The sequence of layers whose weights are `state`.

    `stride` is that of the inner convolutions without a bias; `between` gives the layers that have no weights.
    """
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        index, _, rest = key.partition(".")
        entries.setdefault(int(index), {})[rest] = value
    layers: list[nn.Module] = []
    for i in range(max(entries) + 1):
        entry = entries.get(i)
        if entry is None:
            layers.append(between(i))
        elif "conv.0.weight" in entry:
            layers.append(Residual(entry["conv.0.weight"].shape[0], "pool.0.weight" in entry))
        else:
            to, of = entry["weight"].shape[:2]
            inner = "bias" not in entry
            layers.append(nn.Conv2d(of, to, 3, padding=1, stride=stride if inner else 1, bias=not inner))
    network = nn.Sequential(*layers)
    network.load_state_dict(state)
    return network.float()


def _decoder_between(i: int) -> nn.Module:
    return {0: SoftClamp(), 2: nn.ReLU()}.get(i, nn.Upsample(scale_factor=2))


@register("codec", "taesd")
class TAESD(NetworkCodec):
    """The two networks on images in [0, 1], as a codec on [-1, 1]. `source` is the folder that holds the pair."""

    network: nn.ModuleDict

    def __init__(self, name: str, source: str | None, channels: Size, factor: Size) -> None:
        how = f"Download {name}_encoder and {name}_decoder (.safetensors or .pth) of github.com/madebyollin/taesd."
        folder = existing(source, name, how)
        paths = [_find(folder, f"{name}_{part}", how) for part in ("encoder", "decoder")]
        network = guarded(lambda: _load(*paths), name, folder)
        super().__init__(network, name, channels, factor, hash_files(paths))

    @torch.no_grad()
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network["encoder"]((images + 1) / 2), None

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return self.network["decoder"](latents) * 2 - 1


def _find(folder: Path, stem: str, how: str) -> Path:
    for suffix in (".safetensors", ".pth"):
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    raise InputError(f"{folder} holds no {stem}.safetensors and no {stem}.pth. {how}")


def _load(encoder: Path, decoder: Path) -> nn.ModuleDict:
    def no_layer(i: int) -> nn.Module:
        raise ValueError(f"the encoder's layer {i} has no weights")

    return nn.ModuleDict(
        {
            "encoder": build(read_weights(encoder, "the codec"), 2, no_layer),
            "decoder": build(read_weights(decoder, "the codec"), 1, _decoder_between),
        }
    )
