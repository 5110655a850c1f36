"""The published recipes: every config resolves to the published values, builds, and takes a step when shrunk."""

import pytest
import torch

from isd_core.derivatives import ExactJVP
from isd_core.support.cli import compose_config, resolved
from isd_core.support.registry import build, structured
from isd_core.training.config import TrainerConfig
from isd_image.build import build_network
from isd_image.networks import UNet

PUBLISHED = {  # arXiv 2601.22679 for isd, arXiv 2310.14189 for ict
    "isd_b4": {
        "path.type": "trigonometric",
        "objective.times.a": 0.8,
        "objective.times.b": 1.0,
        "objective.derivative.eps": 0.005,
        "objective.derivative.precision": "float32",
        "objective.stop_gradient": "full",
        "objective.diagonal": 1.0,
        "objective.guidance.omega": 5.0,
        "objective.guidance.dropout": 0.1,
        "objective.guidance.null": {"label": 1000},
        "objective.weighting.p": 1.0,
        "objective.weighting.eta": 0.01,
        "trainer.steps": 400_000,
        "trainer.batch_size": 256,
        "trainer.precision": "bfloat16",
        "trainer.schedule": "constant",
        "trainer.optimizer.lr": 1e-4,
        "trainer.optimizer.betas": [0.9, 0.999],
        "trainer.optimizer.weight_decay": 0.0,
        "trainer.clip_norm": 0,
        "trainer.ema.decay": 0.99995,
        "network.max_frequency": 1.0,
        "codec.channels": 4,
        "codec.factor": 8,
    },
    "isd_xl1": {
        "objective.guidance.omega_max": 8.0,
        "objective.diagonal_discrepancy.type": "mse_plus_cosine",
        "objective.discrepancy.c": 5.0,
        "objective.discrepancy.norm": "mean",
        "objective.weighting.type": "cosine",
        "path.type": "linear",
        "objective.guidance.one_outside": True,
        "trainer.optimizer.type": "normuon",
        "trainer.optimizer.lr": 5e-4,
        "trainer.optimizer.adam_scale": 0.2,  # AdamW at 1e-4
        "trainer.optimizer.adam_betas": [0.9, 0.95],
        "trainer.ema.decay": 0.99995,
        "trainer.clip_norm": 0.1,
        "trainer.steps": 600_000,
        "network.context_from": 10,
        "codec.channels": 32,
        "codec.factor": 16,
    },
    "ict_cifar10": {
        "path.sigma_min": 0.002,
        "path.sigma_max": 80.0,
        "path.rho": 7.0,
        "parametrisation.sigma_data": 0.5,
        "objective.times.mean": -1.1,
        "objective.times.std": 2.0,
        "objective.times.grid.size.s0": 10,
        "objective.times.grid.size.s1": 1280,
        "objective.discrepancy.c": 0.00054,
        "trainer.optimizer.type": "radam",
        "trainer.optimizer.lr": 1e-4,
        "trainer.batch_size": 1024,
        "trainer.steps": 400_000,
        "trainer.ema.decay": 0.99993,
        "network.dropout": 0.3,
        "data.classes": 0,
    },
    "ict_imagenet64": {
        "objective.times.grid.size.s1": 1280,
        "trainer.optimizer.lr": 1e-4,
        "trainer.batch_size": 4096,
        "trainer.steps": 800_000,
        "trainer.ema.decay": 0.99997,
        "network.dropout": 0.2,
        "data.size": 64,
        "data.classes": 1000,
    },
}
SHRUNK = {
    "isd_b4": ["network.width=32", "network.depth=2", "network.heads=2", "data.size=8"],
    "isd_xl1": ["network.width=32", "network.depth=2", "network.heads=2", "data.size=4", "network.context_from=1"],
    "ict_cifar10": ["network.widths=[16,16]", "network.layers=1", "network.head_width=16", "data.size=8"],
    "ict_imagenet64": ["network.widths=[16,16]", "network.layers=1", "network.head_width=16", "data.size=8"],
}
SHRUNK["ict_imagenet64"].append("network.attention=[1]")


def config_of(name: str, *more: str) -> dict:
    return resolved(compose_config("image_train", [f"recipe={name}", "run_dir=x", "data.source.root=x", *more]))


@pytest.mark.parametrize("name", PUBLISHED)
def test_resolved_values_are_the_published_ones(name):
    config = config_of(name)
    for key, value in PUBLISHED[name].items():
        found = config
        for part in key.split("."):
            found = found[part]
        assert found == value, key


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_shrunk_recipe_takes_a_step(name):
    config = config_of(name, *SHRUNK[name])
    torch.manual_seed(0)
    network = build_network(config)
    trainer = structured(TrainerConfig, config["trainer"], where="trainer")
    optimizer = trainer.optimizer.build(network)
    before = [p.detach().clone() for p in network.parameters()]
    data = config["data"]
    x = torch.randn(4, data["channels"], data["size"], data["size"])
    label = torch.arange(4) % max(1, data["classes"])
    out = build("objective", config["objective"])(network, x, {"label": label}, torch.Generator().manual_seed(0), 0)
    out.loss.backward()
    optimizer.step()
    assert torch.isfinite(out.loss)
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_the_unet_sees_times_and_label():
    sizes = {"widths": [16, 16], "layers": 1, "attention": [1], "head_width": 16, "features": "t_s"}
    torch.manual_seed(0)
    network = UNet(2, 8, 5, lambda t: t, **sizes)
    torch.nn.init.normal_(network.network.conv_out.weight)
    x, t, s = torch.randn(2, 2, 8, 8), torch.tensor([0.9, 0.9]), torch.tensor([0.1, 0.1])
    base = network(x, t, s, {"label": torch.tensor([1, 1])})
    moved = [
        network(x, t - 0.5, s, {"label": torch.tensor([1, 1])}),
        network(x, t, s + 0.5, {"label": torch.tensor([1, 1])}),
    ]
    moved.append(network(x, t, s, {"label": torch.tensor([2, 2])}))
    assert all((base - other).abs().max() > 1e-4 for other in moved)


def test_the_unets_exact_derivative_compiles_with_its_gradient(assert_derivative_compiles):
    """torch cannot trace the forward derivative of its own group normalisation, which diffusers builds in."""
    sizes = {"widths": [16, 16], "layers": 1, "attention": [1], "head_width": 16, "features": "t_s"}
    torch.manual_seed(0)
    network = UNet(2, 8, 5, lambda t: t, **sizes)
    torch.nn.init.normal_(network.network.conv_out.weight)
    x, t, s = torch.randn(2, 2, 8, 8), torch.tensor([0.9, 0.6]), torch.tensor([0.1, 0.3])
    assert_derivative_compiles(network, ExactJVP(), x, t, s, {})


@pytest.mark.parametrize("name, millions", [("unet_cifar10", (50, 120)), ("unet_imagenet64", (250, 350))])
def test_unet_sizes_are_of_the_published_class(name, millions):
    config = compose_config("image_train", ["run_dir=x", f"network={name}"])
    size = 32 if name == "unet_cifar10" else 64
    with torch.device("meta"):
        network = build("network", config.network, channels=3, size=size, classes=0, clock=lambda t: t)
    assert millions[0] < sum(p.numel() for p in network.parameters()) / 1e6 < millions[1]
