"""Released checkpoints: names, shapes, positions, and the clock."""

import math

import pytest
import torch

from isd_core.derivatives import ExactJVP
from isd_core.flow_map import FlowMap
from isd_core.paths import Trigonometric
from isd_core.support.cli import compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_image import commands, convert, sample
from isd_image.networks import DiT, InContext, TiT
from isd_image.released import MixedClock
from isd_image.released import convert as translated

CLOCK = Trigonometric().clock
B4 = {"channels": 4, "size": 32, "classes": 1000, "width": 768, "depth": 12, "heads": 12, "patch": 4}
XL1 = {"channels": 32, "size": 16, "classes": 1000, "width": 1152, "depth": 28, "heads": 16, "patch": 1}


def released_shapes(width: int, depth: int, heads: int, patch: int, channels: int, side: int, large: bool) -> dict:
    """The layout of the released files (facts): name -> shape."""
    d, hidden = width, 4 * width * 2 // 3
    out = patch * patch * channels
    shapes = {"pos_embed": (1, side * side, d), "y_embedder.embedding_table.weight": (1001, d)}

    def linear(name: str, to: int, of: int) -> None:
        shapes.update({f"{name}.weight": (to, of), f"{name}.bias": (to,)})

    shapes |= {"x_embedder.proj.weight": (d, channels, patch, patch), "x_embedder.proj.bias": (d,)}
    for name in ("t", "s", "omega", "t_min", "t_max") if large else ("t", "s"):
        linear(f"{name}_embedder.mlp.0", d, 256)
        linear(f"{name}_embedder.mlp.2", d, d)
    for n in range(depth):
        linear(f"blocks.{n}.attn.qkv", 3 * d, d)
        linear(f"blocks.{n}.attn.proj", d, d)
        linear(f"blocks.{n}.mlp.w12", 2 * hidden, d)
        linear(f"blocks.{n}.mlp.w3", d, hidden)
        linear(f"blocks.{n}.adaLN_modulation.1", 6 * d, d)
        if large:
            shapes |= {f"blocks.{n}.norm1.weight": (d,), f"blocks.{n}.norm2.weight": (d,)}
            shapes |= {f"blocks.{n}.attn.{k}_norm.weight": (d // heads,) for k in "qk"}
    linear("final_layer.linear", out, d)
    linear("final_layer.adaLN_modulation.1", 2 * d, d)
    if large:
        shapes |= {"pos_cls": (1, 8, d), "pos_aux": (1, 4, d), "final_layer.norm_final.weight": (d,)}
    else:
        shapes |= {f"feat_rope.freqs_{name}": (side * side, d // heads) for name in ("cos", "sin")}
    return shapes


def random_state(network, shapes: dict) -> dict:
    """A randomly filled state dict of that layout, with the tables that a true one has."""
    rng = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}
    state["pos_embed"] = network.positions[None].clone()
    if "feat_rope.freqs_cos" in shapes:
        state["feat_rope.freqs_cos"], state["feat_rope.freqs_sin"] = network.rotary.cos, network.rotary.sin
    return state


@pytest.mark.parametrize("large", [False, True])
def test_every_released_tensor_has_its_place(large, monkeypatch):
    monkeypatch.setattr("isd_image.released._is_fixed", lambda key, *_: key.startswith(("pos_embed", "feat_rope")))
    with torch.device("meta"):
        network = InContext(clock=CLOCK, context_from=10, **XL1) if large else TiT(clock=CLOCK, **B4)
        sizes = XL1 if large else B4
        arguments = {key: sizes[key] for key in ("width", "depth", "heads", "patch", "channels")}
        shapes = released_shapes(**arguments, side=sizes["size"] // sizes["patch"], large=large)
        state = {name: torch.empty(shape) for name, shape in shapes.items()}
        converted = translated(state, network)
    assert converted.keys() == network.state_dict().keys()


SMALL = {"width": 32, "depth": 2, "heads": 2, "patch": 2, "channels": 4}


@pytest.fixture
def small():
    torch.manual_seed(0)
    network = TiT(size=8, classes=1000, clock=CLOCK, **SMALL)
    return network, random_state(network, released_shapes(**SMALL, side=4, large=False))


def test_values_arrive(small):
    network, state = small
    converted = translated(state, network)
    assert torch.equal(converted["blocks.1.feed_forward.down.weight"], state["blocks.1.mlp.w3.weight"])
    assert torch.equal(converted["time.mlps.1.2.bias"], state["s_embedder.mlp.2.bias"])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("blocks.1.mlp.w3.bias"), "lacks 1 of"),
        (lambda state: state.update({"blocks.9.mlp.w3.bias": torch.zeros(32)}), "no counterpart"),
        (lambda state: state.update({"blocks.1.mlp.w3.bias": torch.zeros(31)}), r"shape \[31\]"),
        (lambda state: state["pos_embed"].add_(0.1), "pos_embed"),
        (lambda state: state.update({"feat_rope.freqs_cos": torch.ones(16, 16)}), "freqs_cos"),
    ],
)
def test_what_does_not_fit_is_named(small, change, message):
    network, state = small
    change(state)
    with pytest.raises(InputError, match=message):
        translated(state, network)


def test_another_network_is_refused(small):
    network = DiT(size=8, classes=1000, clock=CLOCK, **SMALL)
    with pytest.raises(InputError, match="not to DiT"):
        translated(small[1], network)


FIELDS = ["recipe=isd_b4", "data.source.root=nowhere", "codec=identity", "data.size=8", "trainer.device=cpu"]
FIELDS += ["network.width=32", "network.depth=2", "network.heads=2", "network.patch=2", "trainer.precision=float32"]


@pytest.fixture
def released_file(small, tmp_path):
    _, state = small
    ema = {key: value if key.startswith(("pos", "feat")) else 0.5 * value for key, value in state.items()}
    torch.save({"model": state, "ema": ema, "opt": {"state": {}}}, tmp_path / "released.pt")
    return tmp_path / "released.pt"


@pytest.fixture
def convert_file(call, released_file, tmp_path):
    def run(*more: str) -> int:
        where = [f"source={released_file}", f"run_dir={tmp_path / 'run'}"]
        return call(convert, "image_convert", *where, *FIELDS, "latent_scale=0.18215", "step=400000", *more)

    return run


def test_a_converted_checkpoint_can_be_sampled(call, convert_file, tmp_path):
    assert convert_file("compat=exact") == 0
    saved = checkpoint.load(tmp_path / "run")
    assert saved.step == 400_000
    assert saved.tensors("ema")["normaliser.std"].tolist() == pytest.approx([1 / 0.18215] * 4)
    overrides = [f"checkpoint={tmp_path / 'run'}", f"out={tmp_path / 's.npz'}", "nfe=[2]", "count=2", "labels=[7]"]
    assert call(sample, "image_sample", *overrides, "device=cpu", "batch_size=2") == 0


@pytest.mark.parametrize("compat, derivative", [("exact", "difference"), ("released", "released_clock")])
def test_a_converted_checkpoint_can_be_continued(call, convert_file, tree, tmp_path, monkeypatch, compat, derivative):
    assert convert_file(f"compat={compat}") == 0
    from isd_image.data import LabelledImages

    images = LabelledImages(torch.randn(8, 4, 8, 8), torch.arange(8), 1000, "here")
    monkeypatch.setattr("isd_image.data.Cache.split", lambda self, name: images)
    more = [
        "grids=null",
        f"derivative={derivative}",
        "trainer.steps=400001",
        "trainer.batch_size=256",
        f"run_dir={tmp_path / 'run'}",
    ]
    assert call(commands.train, "image_train", *FIELDS, *more) == 0
    assert checkpoint.load(tmp_path / "run").step == 400_001


def test_conversion_needs_the_latents_scale(call, released_file, tmp_path, capsys):
    where = [f"source={released_file}", f"run_dir={tmp_path / 'run'}", "compat=exact"]
    assert call(convert, "image_convert", *where, *FIELDS) == 2
    assert "normalisation is missing" in capsys.readouterr().err


def test_a_file_with_code_in_it_is_not_executed(call, tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trapped"), "w"))

    torch.save({"model": Trap(), "ema": {}}, tmp_path / "trap.pt")
    where = [f"source={tmp_path / 'trap.pt'}", f"run_dir={tmp_path / 'run'}", "compat=exact", "latent_scale=1.0"]
    assert call(convert, "image_convert", *where, *FIELDS) == 2
    assert "plain tensors" in capsys.readouterr().err
    assert not (tmp_path / "trapped").exists()


def mixed_slope(d: torch.Tensor, rate: float, points: int = 20_001) -> torch.Tensor:
    """g(d) of F = -g x, the fixed point on unit Gaussian data: rate g' = 1 - cot(d) g, g(0) = 0, by quadrature."""
    values = []
    for end in d.tolist():
        u = torch.linspace(0, end, points, dtype=torch.float64)
        p = 1 / rate
        integral = torch.trapezoid(torch.sin(u) ** p, u)
        values.append(float(p * integral / math.sin(end) ** p))
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("nfe, spread", [(1, 0.72), (2, 0.87), (4, 0.93)])
def test_the_mixed_clocks_fixed_point_has_the_known_spread(nfe, spread):
    """method.md, trap 1: on unit Gaussian data 1, 2 and 4 steps give .72, .87 and .93 instead of 1."""
    step = torch.tensor([math.pi / 2 / nfe], dtype=torch.float64)
    g = mixed_slope(step, math.pi / 2)
    one = torch.cos(step) + torch.sin(step) * g
    assert float(one**nfe) == pytest.approx(spread, abs=0.005)


@pytest.mark.parametrize("rate", [1.0, math.pi / 2])
def test_that_fixed_point_is_the_mixed_derivatives(rate):
    path = Trigonometric()
    h = 1e-4

    class Fixed(torch.autograd.Function):
        @staticmethod
        def forward(t, s):
            return mixed_slope(t - s, rate)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.d = inputs[0] - inputs[1]

        @staticmethod
        def jvp(ctx, dt, ds):
            slope = (mixed_slope(ctx.d + h, rate) - mixed_slope(ctx.d - h, rate)) / (2 * h)
            return slope * (dt - ds)

    def net(x, t, s, cond):
        return -Fixed.apply(t, s)[:, None] * x

    t, s = torch.tensor([0.9, 1.4], dtype=torch.float64), torch.tensor([0.2, 0.1], dtype=torch.float64)
    x = torch.tensor([[0.7], [-1.3]], dtype=torch.float64)
    v = torch.zeros_like(x)
    dF = MixedClock(ExactJVP(), rate).along(net, x, t, s, {}, dx=v, dt=1.0)
    F = net(x, t, s, {})
    torch.testing.assert_close(FlowMap(path).target(x, F, v, dF, t, s), F, rtol=0, atol=1e-5)


def test_the_released_clock_is_what_conversion_records():
    fields = ["run_dir=x", "recipe=isd_b4", "data.source.root=x", "derivative=released_clock"]
    config = resolved(compose_config("image_train", fields))
    assert isinstance(build("derivative", config["derivative"]), MixedClock)
    assert config["derivative"]["rate"] == Trigonometric().T
