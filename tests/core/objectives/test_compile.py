"""A compiled network gives every objective the loss of the eager one. JVP passes run eagerly: forward mode has no
compiled rule, and torch falls back to the module's own code inside its transform."""

import copy

import pytest
import torch
from torch.testing import assert_close

from isd_core import cli
from isd_core.config import instantiate
from isd_core.mlp import MLP
from isd_core.paths import Linear

NAMES = sorted(path.stem for path in (cli.CONFIGS / "objective").glob("*.yaml") if "distill" not in path.stem)


@pytest.fixture(scope="module")
def nets():
    """A network and its compiled copy."""
    torch.manual_seed(0)
    eager = MLP(2, clock=Linear().clock, width=16, depth=1)
    compiled = copy.deepcopy(eager)
    compiled.compile(dynamic=True)
    return eager, compiled


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("derivative", ["difference", "jvp"])
def test_compiled_and_eager_losses_agree(name, derivative, nets):
    config = cli.compose_config("policy_train", ["data=x", f"objective={name}", f"derivative={derivative}"])
    objective = instantiate(config["objective"])
    x = 0.5 * torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    losses, norms = [], []
    for net in nets:
        net.zero_grad()
        loss = objective(net, x, {}, torch.Generator().manual_seed(1), 0).loss
        loss.backward()
        losses.append(loss.detach())
        norms.append(torch.stack([p.grad.norm() for p in net.parameters() if p.grad is not None]))
    assert_close(losses[1], losses[0], atol=1e-4, rtol=1e-3)
    assert_close(norms[1], norms[0], atol=1e-3, rtol=1e-2)
