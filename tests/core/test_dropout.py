"""All passes of a step see the same dropout masks, row by row."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isd_core.derivatives import CentralDifference, ExactJVP
from isd_core.dropout import KEYS, KeyedDropout, SharedDropout, keyed
from isd_core.network import stack
from isd_core.support import cli
from isd_core.support.errors import InputError
from scripts.support.heads import taught, teachers_place

NAMES = sorted(path.stem for path in (cli.CONFIGS / "objective").glob("*.yaml"))
FLOW_MAPS = [name for name in NAMES if name not in ("flow_matching", "drifting", "regression", "mip", "ddpm")]


class Net(nn.Module):
    """F(x; t, s), smooth, with dropout twice by one module and once by another."""

    def __init__(self, p=0.3):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        self.drop, self.more = nn.Dropout(p), nn.Dropout(p)

    def forward(self, x, t, s, cond):
        assert KEYS not in cond
        h = self.drop(torch.tanh(self.first(torch.cat([x, t[:, None], s[:, None]], 1))))
        h = self.drop(torch.tanh(self.second(h)))
        return self.last(self.more(h))


def points(n=32):
    rng = torch.Generator().manual_seed(1)
    x, t = torch.randn(n, 2, generator=rng), 0.2 + 0.7 * torch.rand(n, generator=rng)
    return x, t, t / 2


def keys(n=32):
    return torch.randint(2**32, (n,), generator=torch.Generator().manual_seed(2))


def masks(key_of_row, shape, p=0.3, kind=nn.Dropout):
    net = nn.Sequential(kind(p))
    (drop,) = keyed(net)
    drop.keys = key_of_row
    return drop(torch.ones(len(key_of_row), *shape))


# -- masks ------------------------------------------------------------------------------------------------------------


def test_a_mask_drops_its_share_and_keeps_the_mean():
    mask = masks(keys(2000), (100,))
    assert mask.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert abs((mask == 0).double().mean() - 0.3) < 4 * (0.3 * 0.7 / 200_000) ** 0.5
    assert abs(mask.mean() - 1) < 0.01


def test_rows_elements_and_modules_are_independent():
    mask = masks(torch.arange(4000), (60,)) - 1  # neighbouring keys are the hardest
    for other in (mask.roll(1, 0), mask.roll(1, 1), mask.roll(7, 1), mask.roll(30, 1)):
        assert abs((mask * other).mean() / mask.square().mean()) < 0.01
    drops = keyed(nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.3)))
    for drop in drops:
        drop.keys = torch.arange(4000)
    first, second, again = (drop(torch.ones(4000, 60)) - 1 for drop in (*drops, drops[0]))
    for other in (second, again):
        assert abs((first * other).mean() / first.square().mean()) < 0.01


def test_channels_fall_whole():
    mask = masks(keys(500), (8, 3, 3), kind=nn.Dropout2d)
    assert (mask.flatten(2).std(-1) == 0).all()
    assert abs((mask == 0).double().mean() - 0.3) < 0.03


def test_without_keys_dropout_is_torchs():
    net, plain = Net(), Net()
    keyed(net)
    x, t, s = points()
    outs = []
    for each in (net, plain):
        torch.manual_seed(3)
        outs.append(each(x, t, s, {}))
    assert torch.equal(*outs)
    assert torch.equal(net.eval()(x, t, s, {}), plain.eval()(x, t, s, {}))
    assert not torch.equal(net.train()(x, t, s, {}), outs[0])


def test_a_kind_that_cannot_share_its_masks_is_refused():
    with pytest.raises(InputError, match=r"AlphaDropout.*use one of Dropout"):
        keyed(nn.Sequential(nn.AlphaDropout(0.1)))


# -- passes -----------------------------------------------------------------------------------------------------------


def test_a_row_has_its_mask_in_every_pass_and_place_of_a_batch():
    net, (x, t, s), cond = SharedDropout(Net()), points(), {KEYS: keys()}
    alone = net(x, t, s, cond)
    swapped = torch.arange(31, -1, -1)
    twice = net(*stack([(x, t, s, cond), (x[swapped], t[swapped], s[swapped], {KEYS: keys()[swapped]})]))
    assert_close(twice[:32], alone, atol=0, rtol=0)
    assert_close(twice[32:][swapped], alone, atol=1e-6, rtol=1e-6)
    assert net.modules[0].keys is None


@pytest.mark.parametrize("derivative", [CentralDifference(1e-4), ExactJVP()], ids=["difference", "jvp"])
def test_a_derivative_with_dropout_is_that_of_the_network_with_fixed_masks(derivative):
    """Every row with the same key: the masks are then a part of the weights."""
    net = Net().double()
    x, t, s = (value.double() for value in points())
    same = {KEYS: torch.full((32,), 77)}
    found = derivative.along(SharedDropout(net), x, t, s, same, dx=torch.sin(x), dt=1.0)
    exact = ExactJVP().along(fixed(net), x, t, s, {}, dx=torch.sin(x), dt=1.0)
    assert_close(found, exact, atol=1e-6, rtol=1e-6)


class Fixed(nn.Module):
    """A network in evaluation whose dropout modules multiply by masks that never change."""

    def __init__(self, net, masks):
        super().__init__()
        self.net, self.masks = net, masks

    def forward(self, x, t, s, cond):
        net, (one, two, three) = self.net, self.masks
        h = one * torch.tanh(net.first(torch.cat([x, t[:, None], s[:, None]], 1)))
        h = two * torch.tanh(net.second(h))
        return net.last(three * h)


def fixed(net, key=77):
    drops = keyed(net)
    for drop in drops:
        drop.keys, drop.calls = torch.tensor([key]), 0
    one = torch.ones(1, 16, dtype=net.last.weight.dtype)
    found = net.drop(one), net.drop(one), net.more(one)
    for drop in drops:
        drop.keys = None
    return Fixed(net, found).eval()


def built(name, teacher, *words):
    place = teachers_place(name)
    checkpoint = [f"objective.{place}.checkpoint=unused"] if place else []
    config = cli.resolved(cli.compose_config("policy_train", ["data=x", f"objective={name}", *checkpoint, *words]))
    return taught(config["objective"], teacher)


@pytest.mark.parametrize("name", FLOW_MAPS)
def test_a_step_of_every_objective_sees_one_network(name, monkeypatch):
    """Loss and gradient of dropout's network, every row with one key, are those of the network with its masks fixed."""
    net, teacher = Net(), Net(p=0.0)
    objective = built(name, teacher)
    drawn = objective.draw(points()[0], {}, torch.Generator().manual_seed(1), 100)  # steps of iCT are still coarse
    expected = loss_and_gradients(objective, fixed(net), net, drawn)
    monkeypatch.setattr("isd_core.dropout.torch.randint", lambda high, shape, device: torch.full(shape, 77))
    assert_close(loss_and_gradients(objective, net.train(), net, drawn), expected, atol=1e-5, rtol=2e-3)


def loss_and_gradients(objective, net, weights, drawn, loss=None):
    weights.zero_grad()
    out = (loss or objective.loss)(net, drawn)
    out.loss.backward()
    return out.loss.detach(), [p.grad.clone() for p in weights.parameters()]


@pytest.mark.parametrize("name, derivative", [("isd", "difference"), ("esd", "jvp")])
def test_a_compiled_step_has_the_same_masks(name, derivative):
    objective = built(name, Net(), f"derivative={derivative}")
    net = Net()
    keyed(net)  # as the loss module does it before it compiles
    drawn = objective.draw(points()[0], {}, torch.Generator().manual_seed(1), 4_000)
    torch._dynamo.reset()
    compiled = torch.compile(objective.loss, backend="aot_eager", fullgraph=True)
    found = []
    for loss in (None, compiled):
        torch.manual_seed(5)
        twin = copy.deepcopy(net)
        found.append(loss_and_gradients(objective, twin, twin, drawn, loss))
    assert_close(found[1], found[0], atol=1e-4, rtol=2e-3)


def test_a_block_that_is_recomputed_is_refused():
    net = Net()
    drop = keyed(net)[0]
    h = torch.ones(32, 16, requires_grad=True)
    drop.keys = keys()
    out = torch.utils.checkpoint.checkpoint(drop, h, use_reentrant=False)
    drop.keys = None
    with pytest.raises(RuntimeError, match="recomputed"):
        out.sum().backward()
    assert isinstance(drop, KeyedDropout)
