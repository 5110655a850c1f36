"""NorMuon: its direction, its size, AdamW beside it, and its state."""

import pytest
import torch
from torch import nn

from isd_core.paths import Linear
from isd_core.support.errors import InputError
from isd_core.training.optimizer import optimizer_tensors, restore_optimizer
from isd_image.networks import DiT, TiT
from isd_image.optimizer import NorMuon, NorMuonAdamW, orthogonalise

CONFIG = NorMuonAdamW(lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0, adam_scale=0.1, adam_betas=(0.9, 0.99))


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 16)])
def test_orthogonalised_singular_values_are_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_orthogonalisation_keeps_the_singular_vectors():
    matrix = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalise(matrix) @ v.T
    assert (inner - torch.diag(inner.diag())).abs().max() < 1e-4


def test_it_agrees_with_torchs_muon_before_the_neurons_are_rescaled():
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.zeros(12, 20))
    parameter.grad = torch.randn(12, 20)
    expected = orthogonalise(parameter.grad)
    torch.optim.Muon([parameter], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False).step()
    torch.testing.assert_close(-parameter.detach(), expected, rtol=0, atol=0.02)  # torch's is in bfloat16


def stepped(shape, gradient, steps=1, **changes):
    parameter = nn.Parameter(torch.ones(shape))
    fields = {"method": "normuon", "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0, "blocks": 1} | changes
    optimizer = NorMuon([{"params": [parameter], **fields}], lr=0.01)
    for _ in range(steps):
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("shape, scale", [((16, 40), 1.0), ((40, 10), 2.0)])
def test_an_update_has_the_norm_of_the_orthogonal_matrix_times_the_root_of_its_shape(shape, scale):
    """lr sqrt(max(1, rows / columns)) |O|; what the neurons' second moments change is the direction alone."""
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    update = stepped(shape, gradient) - 1
    assert update.norm() == pytest.approx(0.01 * scale * float(orthogonalise(gradient).norm()), rel=1e-3)


def test_maps_that_share_a_matrix_are_orthogonalised_apart():
    parts = (
        torch.randn(3, 12, 20, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 10, 0.1])[:, None, None]
    )
    joined = stepped((36, 20), parts.flatten(0, 1), blocks=3)
    torch.testing.assert_close(joined, torch.cat([stepped((12, 20), part) for part in parts]))
    assert (joined - stepped((36, 20), parts.flatten(0, 1))).abs().max() > 1e-4


def test_momentum_looks_ahead():
    """Nesterov: after gradients A and B the direction is that of (1 - b) B + b M, M = b (1 - b) A + (1 - b) B."""
    first, second = torch.randn(2, 12, 20, generator=torch.Generator().manual_seed(0))
    parameter = nn.Parameter(torch.zeros(12, 20))
    fields = {"method": "normuon", "betas": (0.9, 0.0), "eps": 1e-8, "weight_decay": 0.0, "blocks": 1}
    optimizer = NorMuon([{"params": [parameter], **fields}], lr=1.0)
    parameter.grad = first.clone()
    optimizer.step()
    before, parameter.grad = parameter.detach().clone(), second.clone()
    optimizer.step()
    direction = orthogonalise(0.1 * second + 0.9 * (0.9 * 0.1 * first + 0.1 * second))
    rows = direction / direction.square().mean(1, keepdim=True).sqrt()
    expected = rows * direction.norm() / rows.norm()
    torch.testing.assert_close(before - parameter.detach(), expected, rtol=1e-3, atol=1e-4)


def test_neurons_are_moved_alike():
    gradient = torch.randn(16, 40, generator=torch.Generator().manual_seed(0))
    gradient[:4] *= 1e-3
    sizes = (stepped((16, 40), gradient) - 1).norm(dim=1)
    assert sizes.max() / sizes.min() == pytest.approx(1, rel=1e-3)


def test_adamw_beside_it_is_torchs():
    gradient = torch.randn(5, generator=torch.Generator().manual_seed(0))
    ours = stepped(5, gradient, steps=3, method="adamw", weight_decay=0.1)
    parameter = nn.Parameter(torch.ones(5))
    adamw = torch.optim.AdamW([parameter], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(3):
        parameter.grad = gradient.clone()
        adamw.step()
    torch.testing.assert_close(ours, parameter.detach())


@pytest.fixture
def network():
    torch.manual_seed(0)
    return DiT(1, 8, 3, Linear().clock, width=16, depth=1, heads=2, patch=2)


def test_embeddings_patches_and_head_are_left_to_adamw(network):
    *matrices, rest = CONFIG.build(network).param_groups
    names = {p: name for name, p in network.named_parameters()}
    assert all(group["method"] == "normuon" for group in matrices) and rest["method"] == "adamw"
    chosen = {names[p]: group["blocks"] for group in matrices for p in group["params"]}
    assert all(name.startswith(("blocks.", "time.", "modulation.")) for name in chosen)
    assert {name for name, blocks in chosen.items() if blocks == 3} == {"blocks.0.attention.qkv.weight"}
    assert {"label.table.weight", "patches.project.weight", "head.weight"} <= {names[p] for p in rest["params"]}
    assert len(chosen) + len(rest["params"]) == len(names)


def test_the_two_maps_of_a_gated_layer_are_apart():
    network = TiT(1, 8, 3, Linear().clock, width=16, depth=1, heads=2, patch=2)
    groups = CONFIG.build(network).param_groups
    assert [len(group["params"]) for group in groups if group.get("blocks") == 2] == [1]


def test_its_state_comes_back(network):
    optimizer = CONFIG.build(network)
    for p in network.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    tensors, groups = optimizer_tensors(optimizer)
    again = CONFIG.build(network)
    restore_optimizer(again, tensors, groups)
    other, _ = optimizer_tensors(again)
    assert tensors.keys() == other.keys()
    assert all(torch.equal(tensors[key], other[key]) for key in tensors)


def test_a_network_without_matrices_is_refused():
    with pytest.raises(InputError, match="no matrices"):
        CONFIG.build(nn.Conv2d(1, 1, 3))
