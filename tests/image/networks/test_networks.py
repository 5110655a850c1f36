"""The networks' structure, sizes and derivatives."""

import pytest
import torch
from torch import nn

from isd_core.derivatives import CentralDifference, ExactJVP
from isd_core.paths import Linear
from isd_core.support.cli import compose_config
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_image.networks import DiT, InContext, TiT
from isd_image.networks.layers import AxialRotary, PatchEmbedding, sincos_positions, unpatchify

CLOCK = Linear().clock
SIZES = {"channels": 2, "size": 8, "classes": 5, "width": 32, "depth": 2, "heads": 2, "patch": 2}
NETWORKS = {
    "DiT": lambda **kw: DiT(clock=CLOCK, **(SIZES | kw)),
    "TiT": lambda **kw: TiT(clock=CLOCK, **(SIZES | kw)),
    "InContext": lambda **kw: InContext(clock=CLOCK, context_from=1, **(SIZES | kw)),
}


@pytest.fixture(params=NETWORKS)
def make(request):
    return NETWORKS[request.param]


def randomised(network: nn.Module) -> nn.Module:
    """Weights without the zeros of the start, so that every part has a say."""
    rng = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        spread = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
        nn.init.normal_(parameter, std=spread, generator=rng)
    return network


@pytest.fixture
def batch():
    rng = torch.Generator().manual_seed(0)
    t = torch.rand(3, generator=rng)
    return torch.randn(3, 2, 8, 8, generator=rng), t, 0.4 * t, {"label": torch.tensor([0, 4, 5])}


def test_a_fresh_network_is_zero(make, batch):
    assert make()(*batch).abs().max() == 0


def test_without_labels_every_row_has_the_null_label(make, batch):
    x, t, s, _ = batch
    network = randomised(make())
    null = {"label": torch.full((3,), 5)}
    torch.testing.assert_close(network(x, t, s, None), network(x, t, s, null))


def test_rows_do_not_see_each_other(make, batch):
    x, t, s, cond = batch
    network = randomised(make())
    one = network(x[:1], t[:1], s[:1], {"label": cond["label"][:1]})
    torch.testing.assert_close(network(x, t, s, cond)[:1], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("argument", [1, 2])
def test_both_times_matter(make, batch, argument):
    network = randomised(make())
    moved = list(batch)
    moved[argument] = batch[argument] + 0.3
    assert (network(*batch) - network(*moved)).abs().max() > 1e-3


def test_exact_derivative_agrees_with_differences(make, batch):
    x, t, s, cond = batch
    network = randomised(make())
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    exact = ExactJVP().along(network, x, t, s, cond, dx=v, dt=1.0)
    differences = CentralDifference(eps=0.01).along(network, x, t, s, cond, dx=v, dt=1.0)
    assert (exact - differences).norm() < 1e-3 * exact.norm()


def test_recomputed_blocks_give_the_same_gradient(make, batch):
    gradients = []
    for checkpointing in (False, True):
        network = randomised(make(checkpointing=checkpointing))
        network(*batch).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    torch.testing.assert_close(*gradients)


def test_patches_and_back(batch):
    x = batch[0]
    embedding = PatchEmbedding(2, 8, 2)
    with torch.no_grad():  # token = (row, column, channel) of the patch
        embedding.project.weight.copy_(torch.eye(8).view(8, 2, 2, 2).permute(0, 3, 1, 2))
        embedding.project.bias.zero_()
    torch.testing.assert_close(unpatchify(embedding(x), channels=2, patch=2), x)


def test_fixed_positions_differ_everywhere():
    positions = sincos_positions(32, 16)
    assert torch.pdist(positions).min() > 0.1


def test_rotary_products_depend_on_the_offset_alone():
    side, width = 5, 16
    rotary = AxialRotary(width, side)
    q, k = torch.randn(2, width, generator=torch.Generator().manual_seed(0)).unbind()
    scores = (rotary(q.expand(1, 1, side * side, width)) @ rotary(k.expand(1, 1, side * side, width)).mT)[0, 0]
    grid = scores.view(side, side, side, side)
    torch.testing.assert_close(grid[0, 0, 1, 2], grid[2, 1, 3, 3], rtol=1e-4, atol=1e-4)


def test_rotary_leaves_the_prefix_alone():
    rotary = AxialRotary(8, 2, prefix=3)
    x = torch.randn(1, 1, 7, 8)
    torch.testing.assert_close(rotary(x)[:, :, :3], x[:, :, :3])


def test_the_guidance_interval_is_an_input(batch):
    x, t, s, cond = batch
    network = randomised(NETWORKS["InContext"]())
    plain = network(x, t, s, cond)
    for name in ("omega", "t_min", "t_max"):
        given = network(x, t, s, cond | {name: torch.full((3,), 0.5)})
        assert (given - plain).abs().max() > 1e-3, name


def test_a_patch_that_does_not_divide_the_image_is_named():
    with pytest.raises(InputError, match=r"network\.patch=3"):
        NETWORKS["DiT"](patch=3)


def test_heads_that_do_not_divide_the_width_are_named():
    with pytest.raises(InputError, match=r"network\.width=32"):
        NETWORKS["TiT"](heads=5)


PUBLISHED = [  # config, channels, size, millions of trainable parameters
    ("tit_b4", 4, 32, 131.18),
    ("tit_b2", 4, 32, 131.10),
    ("tit_l2", 4, 32, 459.12),
    ("tit_xl2", 4, 32, 676.48),
    ("in_context_xl1", 32, 16, 681.48),
]


@pytest.mark.parametrize("name, channels, size, millions", PUBLISHED)
def test_published_sizes(name, channels, size, millions):
    assert round(parameters(name, channels, size) / 1e6, 2) == millions


DIT = [("dit_b4", 768, 12, 4), ("dit_b2", 768, 12, 2), ("dit_l2", 1024, 24, 2), ("dit_xl2", 1152, 28, 2)]


@pytest.mark.parametrize("name, width, depth, patch", DIT)
def test_dit_sizes_by_the_standard_formula(name, width, depth, patch):
    d, p = width, 4 * patch**2
    block = 18 * d * d + 15 * d  # qkv, projection, 4 D feed-forward and six modulations, with biases
    times = 2 * (256 * d + d + d * d + d)
    rest = (p * d + d) + 1001 * d + (2 * d * d + 2 * d) + (d * p + p)
    assert parameters(name, 4, 32) == depth * block + times + rest


def parameters(name: str, channels: int, size: int) -> int:
    """Trainable parameters of a network config on latents of 1,000 classes, counted without allocating them."""
    config = compose_config("image_train", ["run_dir=x", f"network={name}"])
    with torch.device("meta"):
        network = build("network", config.network, channels=channels, size=size, classes=1000, clock=CLOCK)
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
