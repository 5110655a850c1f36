import pytest
import torch

from isd_core.derivatives import CentralDifference, ExactJVP
from isd_core.networks.embedding import TimeEmbedding
from isd_core.paths import Linear
from isd_core.support.errors import InputError
from isd_policy.networks.dit1d import DiT1D


def network(trained=True, **changes):
    """A small network; `trained` replaces its zeros, behind which nothing depends on anything."""
    torch.manual_seed(0)
    sizes = {"action_size": 3, "condition_size": 4, "horizon": 8, "clock": Linear().clock}
    net = DiT1D(**(sizes | {"width": 16, "depth": 2, "heads": 2} | changes))
    if trained:
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return net


def inputs(n=5, dtype=torch.float32):
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(n, 8, 3, generator=rng, dtype=dtype)
    t, s = torch.rand(2, n, generator=rng, dtype=dtype).sort(0, descending=True).values
    return x, t, s, {"obs": torch.randn(n, 4, generator=rng, dtype=dtype)}


def test_it_begins_as_zero():
    x, t, s, cond = inputs()
    assert not network(trained=False)(x, t, s, cond).any()


def test_the_time_embedding_begins_small():
    """Its layers are linear too, and begin as embeddings all the same."""
    weights = [m.weight for m in network(trained=False, width=64).time.modules() if isinstance(m, torch.nn.Linear)]
    assert weights
    assert all(0.015 < float(weight.detach().std()) < 0.025 for weight in weights)
    assert isinstance(network().time, TimeEmbedding)


@pytest.mark.parametrize("which", ["t", "s", "obs", "x"])
def test_output_depends_on_every_input(which):
    net, (x, t, s, cond) = network(), inputs()
    with torch.no_grad():
        before = net(x, t, s, cond)
        changed = {"x": x, "t": t, "s": s, "obs": cond["obs"]}
        changed[which] = changed[which] + 0.3
        after = net(changed["x"], changed["t"], changed["s"], {"obs": changed["obs"]})
    assert before.shape == x.shape
    assert (after - before).abs().amax((1, 2)).min() > 1e-5


def test_a_guided_network_sees_the_interval():
    net, (x, t, s, cond) = network(guided=True), inputs()
    with torch.no_grad():
        none, same = (net(x, t, s, cond | more) for more in ({}, {"omega": torch.ones(5)}))
        strong = net(x, t, s, cond | {"omega": torch.full((5,), 3.0)})
    assert torch.equal(none, same)
    assert not torch.allclose(none, strong)


def test_actions_are_told_apart_by_their_place():
    """The same action everywhere gives different outputs: positions matter."""
    net, (x, t, s, cond) = network(), inputs()
    with torch.no_grad():
        out = net(x[:, :1].expand_as(x).contiguous(), t, s, cond)
    assert (out[:, 0] - out[:, 5]).abs().max() > 1e-4


def test_finite_differences_equal_forward_mode():
    net = network().double()
    x, t, s, cond = inputs(dtype=torch.float64)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    exact = ExactJVP().along(net, x, t, s, cond, dx=v, dt=1.0)
    found = CentralDifference(1e-5).along(net, x, t, s, cond, dx=v, dt=1.0)
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=1e-6)


def test_a_width_that_the_heads_do_not_divide_is_an_input_error():
    with pytest.raises(InputError, match=r"multiple of network\.heads=3"):
        network(heads=3)
