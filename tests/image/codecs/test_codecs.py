"""Codecs: shapes, round trips, missing weights, and the translation of VA-VAE's names."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from isd_core.support.errors import InputError
from isd_image.codecs import KL, TAESD, VAVAE, Identity, Tiny
from isd_image.codecs.taesd import Residual, SoftClamp
from isd_image.codecs.vavae import architecture, load, translate

diffusers = pytest.importorskip("diffusers")


def tiny_pair(folder: Path, channels: int, pooled: bool) -> None:
    """Random weights of one level of reduction in the layout of the original files."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d
    encoder = [conv(3, 8, 3, padding=1), Residual(8, False), conv(8, 8, 3, padding=1, stride=2, bias=False)]
    encoder += [Residual(8, pooled), conv(8, channels, 3, padding=1)]
    decoder = [SoftClamp(), conv(channels, 8, 3, padding=1), torch.nn.ReLU(), Residual(8, pooled)]
    decoder += [torch.nn.Upsample(scale_factor=2), conv(8, 8, 3, padding=1, bias=False), conv(8, 3, 3, padding=1)]
    for name, layers in (("encoder", encoder), ("decoder", decoder)):
        save_file(torch.nn.Sequential(*layers).state_dict(), folder / f"small_{name}.safetensors")


def test_identity_gives_back_its_input():
    codec = Identity("identity", 3, 1)
    x = torch.randn(2, 3, 8, 8)
    mean, std = codec.encode(x)
    assert std is None
    assert codec.decode(mean) is x


@pytest.mark.parametrize("pooled", [False, True])
def test_a_pair_of_tiny_networks(tmp_path, pooled):
    tiny_pair(tmp_path, 5, pooled)
    codec = TAESD("small", str(tmp_path), 5, 2)
    mean, std = codec.encode(torch.randn(2, 3, 16, 16))
    assert mean.shape == (2, 5, 8, 8)
    assert std is None
    assert codec.decode(mean).shape == (2, 3, 16, 16)


def test_other_weights_have_another_hash(tmp_path):
    hashes = []
    for name, pooled in (("a", False), ("b", True)):
        (tmp_path / name).mkdir()
        tiny_pair(tmp_path / name, 5, pooled)
        hashes.append(TAESD("small", str(tmp_path / name), 5, 2).weights)
    assert hashes[0] != hashes[1]


def test_latents_that_differ_from_the_config_are_named(tmp_path):
    tiny_pair(tmp_path, 5, False)
    with pytest.raises(InputError, match=r"codec\.channels=4"):
        TAESD("small", str(tmp_path), 4, 2)


def test_autoencoder_tiny_from_a_folder(tmp_path):
    blocks = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    layers = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    diffusers.AutoencoderTiny(latent_channels=4, **blocks, **layers).save_pretrained(tmp_path)
    codec = Tiny("tiny", str(tmp_path), 4, 2)
    mean, std = codec.encode(torch.randn(1, 3, 16, 16))
    assert mean.shape == (1, 4, 8, 8)
    assert std is None
    assert codec.decode(mean).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("name", ["small_encoder.pth", "small_encoder.safetensors"])
def test_damaged_weights_are_named(tmp_path, name):
    tiny_pair(tmp_path, 5, False)
    (tmp_path / "small_encoder.safetensors").unlink()
    (tmp_path / name).write_bytes(b"no weights" * 50)
    with pytest.raises(InputError, match=f"cannot be read from .*{name}"):
        TAESD("small", str(tmp_path), 5, 2)


@pytest.mark.parametrize("codec", [TAESD, VAVAE])
@pytest.mark.parametrize("source", [None, "nowhere"])
def test_missing_weights_say_how_to_get_them(codec, source):
    with pytest.raises(InputError, match="Download"):
        codec("small", source, 32, 16)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be loaded from"):
        KL("kl", str(tmp_path), 4, 8)


def test_autoencoder_kl_from_a_folder(tmp_path):
    small = diffusers.AutoencoderKL(block_out_channels=(32, 32), latent_channels=4, **two_levels())
    small.save_pretrained(tmp_path)
    codec = KL("kl", str(tmp_path), 4, 2)
    mean, std = codec.encode(torch.randn(1, 3, 16, 16))
    assert mean.shape == std.shape == (1, 4, 8, 8)
    assert bool((std > 0).all())
    assert codec.decode(mean).shape == (1, 3, 16, 16)


def two_levels() -> dict[str, tuple[str, str]]:
    return {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}


LATENT_DIFFUSION = {  # facts of the latent-diffusion layout, for 5 levels
    "encoder.conv_in.weight": "encoder.conv_in.weight",
    "encoder.norm_out.bias": "encoder.conv_norm_out.bias",
    "encoder.down.1.block.0.nin_shortcut.weight": "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
    "encoder.down.4.attn.1.proj_out.bias": "encoder.down_blocks.4.attentions.1.to_out.0.bias",
    "encoder.down.0.downsample.conv.weight": "encoder.down_blocks.0.downsamplers.0.conv.weight",
    "encoder.mid.block_2.norm1.weight": "encoder.mid_block.resnets.1.norm1.weight",
    "encoder.mid.attn_1.q.weight": "encoder.mid_block.attentions.0.to_q.weight",
    "decoder.up.4.attn.2.norm.weight": "decoder.up_blocks.0.attentions.2.group_norm.weight",
    "decoder.up.0.block.2.conv2.bias": "decoder.up_blocks.4.resnets.2.conv2.bias",
    "decoder.up.1.upsample.conv.bias": "decoder.up_blocks.3.upsamplers.0.conv.bias",
    "post_quant_conv.weight": "post_quant_conv.weight",
    "loss.discriminator.0.weight": None,
    "linear_proj.weight": None,
}


@pytest.mark.parametrize("name", LATENT_DIFFUSION)
def test_names_of_the_latent_diffusion_layout(name):
    assert translate(name, levels=5) == LATENT_DIFFUSION[name]


def latent_diffusion_names(levels: int) -> list[str]:
    """Every tensor name of the encoder and decoder in the latent-diffusion layout, written from its structure."""

    def residual(place: str, shortcut: bool) -> list[str]:
        parts = ["norm1", "conv1", "norm2", "conv2"] + ["nin_shortcut"] * shortcut
        return [f"{place}.{part}" for part in parts]

    attention = ["norm", "q", "k", "v", "proj_out"]
    layers = []
    for side, way, blocks in (("encoder", "down", 2), ("decoder", "up", 3)):
        layers += [f"{side}.conv_in", f"{side}.conv_out", f"{side}.norm_out"]
        layers += residual(f"{side}.mid.block_1", False) + residual(f"{side}.mid.block_2", False)
        layers += [f"{side}.mid.attn_1.{part}" for part in attention]
        for level in range(levels):
            for i in range(blocks):
                layers += residual(f"{side}.{way}.{level}.block.{i}", shortcut=False)
                if level == levels - 1:
                    layers += [f"{side}.{way}.{level}.attn.{i}.{part}" for part in attention]
            if (way == "down" and level < levels - 1) or (way == "up" and level > 0):
                layers.append(f"{side}.{way}.{level}.{way}sample.conv")
    layers += ["quant_conv", "post_quant_conv"]
    return [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


def test_the_translation_covers_the_whole_autoencoder(tmp_path):
    widths = (32, 32, 32)
    network = architecture(4, widths)
    state = network.state_dict()
    names = latent_diffusion_names(len(widths))
    assert sorted(translate(name, len(widths)) for name in names) == sorted(state)
    old = {name: state[translate(name, len(widths))].contiguous() for name in names}
    old = {k: v[:, :, None, None] if ".attn" in k and v.ndim == 2 else v for k, v in old.items()}
    save_file(old | {"loss.weight": torch.ones(1)}, tmp_path / "old.safetensors")
    again = load(tmp_path / "old.safetensors", 4, widths).state_dict()
    assert all(torch.equal(again[key], state[key]) for key in state)


def test_a_checkpoint_without_a_layer_is_refused(tmp_path):
    save_file({"encoder.conv_in.weight": torch.zeros(128, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match="lacks"):
        VAVAE("va-vae-f16d32", str(tmp_path / "part.safetensors"), 32, 16)
