"""The sampler as a graph gives what the policy gives, for every policy network, and acts in the same interface."""

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import isd_policy
from isd_core.support.cli import CONFIGS, compose_config, resolved
from isd_core.support.errors import InputError
from isd_policy.backend import Call
from isd_policy.build import build_policy
from isd_policy.deploy.export import __main__ as export
from isd_policy.deploy.export import folder, graphs, int8, writer
from isd_policy.deploy.export.onnx_policy import OnnxPolicy
from isd_policy.deploy.export.parity import largest_differences, program_graph, random_inputs
from isd_policy.deploy.export.sessions import session_of
from isd_policy.deploy.export.writer import OBSERVATIONS, TOLERANCES

pytest.importorskip("onnxruntime")

TOLERANCE = TOLERANCES["float32"]
NETWORKS = sorted(
    path.stem
    for path in (CONFIGS / "network").glob("*.yaml")
    if "isd_policy.networks" in path.read_text() or re.search(r"^  - (unet1d|dit1d)$", path.read_text(), re.MULTILINE)
)
SMALL = {
    "unet1d": ["network.widths=[32,64,128]"],
    "unet1d_published": ["network.widths=[16,32]", "network.hidden=64", "network.embedding=32"],
    "dit1d": ["network.depth=1", "network.width=48"],
}
"""Overrides that leave the layers of a network as they are, at a size that a test can afford."""


def network_of(name):
    """The config of a policy network, small enough for a test."""
    return resolved(compose_config("policy_train", ["data=x", f"network={name}", *SMALL.get(name, ())]))["network"]


DIFFERENT = {json.dumps(network_of(name)): name for name in NETWORKS}
"""One network of each config; those that differ by their size alone are one."""


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """torch's tracer writes thousands of records, which pytest would keep."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Where the graphs that several tests share are kept."""
    return tmp_path_factory.mktemp("once")


def policy_of(network, config, normaliser):
    """A policy with this network, as the training command configures it."""
    return build_policy(config | {"network": network_of(network)}, normaliser).eval()


def from_program(program):
    """A program in memory as a function of its inputs."""
    module = program.module()

    def call(inputs):
        with torch.inference_mode():
            return module(
                {k: torch.from_numpy(v) for k, v in inputs.obs.items()}, torch.from_numpy(inputs.noise)
            ).numpy()

    return call


@pytest.mark.parametrize("network", DIFFERENT.values())
def test_graphs_of_any_batch_equal_the_policy(network, config, normaliser, tmp_path):
    policy = policy_of(network, config, normaliser)
    program = graphs.trace(policy, 1, None)
    graphs.write_onnx(program, tmp_path / "policy.onnx")
    forms = {"onnx": OnnxPolicy.of(policy, tmp_path / "policy.onnx", 1).infer, "program": from_program(program)}
    assert max(largest_differences(policy, forms, 1, OBSERVATIONS).values()) < TOLERANCE


@pytest.fixture
def fixed(once, policy, tmp_path):
    """A folder with both graphs of the tiny policy, of two network calls and of four rows."""
    if not (once / "fixed").exists():
        (once / "fixed").mkdir()
        program = graphs.trace(policy, 2, 4)
        graphs.write_onnx(program, once / "fixed/policy.onnx")
        graphs.write_program(program, once / "fixed/program.pt2")
    return Path(shutil.copytree(once / "fixed", tmp_path / "fixed"))


def test_graphs_of_a_fixed_batch_equal_the_policy(policy, fixed):
    """The last call of the comparison does not fill the batch."""
    onnx = {"onnx": OnnxPolicy.of(policy, fixed / "policy.onnx", 2, batch=4).infer}
    assert largest_differences(policy, onnx, 2, count=102)["onnx"] < TOLERANCE
    four = random_inputs(policy, 4)
    np.testing.assert_allclose(program_graph(fixed / "program.pt2", 4)(four), policy.infer(four, 2), atol=TOLERANCE)


def test_a_wrong_graph_is_noticed(policy):
    """The comparison itself can fail."""
    assert largest_differences(policy, {"two": lambda i: policy.infer(i, 2)}, 1, count=10)["two"] > TOLERANCE


@pytest.mark.parametrize(
    "sampler",
    [
        "diagonal",
        "regression",
        "mip",
    ],
)
def test_other_samplers_are_traced(sampler, config, normaliser):
    policy = build_policy(config | {"sampler": {"type": sampler, "path": config["path"]}}, normaliser).eval()
    module = graphs.trace(policy, 1, None).module()
    obs, noise = graphs.example(policy, 3)
    noise += torch.randn(noise.shape)
    torch.testing.assert_close(module(obs, noise), policy.plan(obs, noise, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("network", ["unet1d", "dit1d"])
@pytest.mark.parametrize("longest", [0, 5])
def test_graphs_take_a_prefix(network, longest, config, normaliser, tmp_path):
    """Rows with prefixes of every length; without one in the inputs, none is given."""
    config = config | {"delay": {"type": "uniform", "most": longest}}
    policy = policy_of(network, config, normaliser)
    for weight in policy.net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    program = graphs.trace(policy, 1, None)
    graphs.write_onnx(program, tmp_path / "policy.onnx")
    graphs.write_program(program, tmp_path / "program.pt2")
    onnx = OnnxPolicy.of(policy, tmp_path / "policy.onnx", 1)
    forms = {"onnx": onnx.infer, "program": program_graph(tmp_path / "program.pt2", None)}
    assert max(largest_differences(policy, forms, 1, count=100).values()) < TOLERANCE
    given = random_inputs(policy, 20)
    bare = given._replace(prefix=None)
    np.testing.assert_allclose(onnx.infer(bare), policy.infer(bare), atol=TOLERANCE)
    if longest:
        assert np.abs(policy.infer(given) - policy.infer(bare)).max() > 100 * TOLERANCE


def test_a_sampler_that_draws_noise_is_refused_by_name(config, normaliser):
    sampler = {"type": "consistency", "path": config["path"]}
    policy = build_policy(config | {"sampler": sampler}, normaliser).eval()
    with pytest.raises(InputError, match="ConsistencySampler with nfe=2 cannot be exported"):
        graphs.trace(policy, 2, None)


# -- the command and the backend --------------------------------------------------------------------------------------


@pytest.fixture
def exported(once, make_bundle, tmp_path):
    """A bundle and its export, by the command."""
    kept = once / "bundle", once / "export"
    if not kept[1].exists():
        shutil.copytree(make_bundle(), kept[0])
        words = [f"bundle={kept[0]}", f"out={kept[1]}", "formats=[onnx]"]
        assert export.main.run(*words) == 0
    mine = tmp_path / "mine", tmp_path / "mine.export"
    for source, place in zip(kept, mine, strict=True):
        shutil.copytree(source, place)
    return mine


def test_an_export_acts_as_its_bundle(exported, observations):
    bundle, out = (isd_policy.load(path) for path in exported)
    assert isinstance(out, OnnxPolicy)
    for row in observations(4):
        np.testing.assert_allclose(out.act(row), bundle.act(row), atol=1e-5)
    out.reset(seed=1)
    bundle.reset(seed=1)
    np.testing.assert_allclose(out.act(row), bundle.act(row), atol=1e-5)
    assert 0 <= folder.read(exported[1]).meta["graph"]["difference"]["onnx"] < TOLERANCE


def test_an_export_answers_many_at_once(exported, observations):
    bundle, out = (isd_policy.load(path) for path in exported)
    rows = [bundle.row(row) for row in observations(6)]
    calls = [Call(rows[i : i + 2], (0, i)) for i in range(5)]
    np.testing.assert_allclose(out.infer(out.preprocess(calls)), bundle.infer(bundle.preprocess(calls)), atol=1e-5)


def test_the_number_of_network_calls_is_the_graph_s(exported, observations):
    out = isd_policy.load(exported[1])
    with pytest.raises(InputError, match="nfe=2: this export has 1"):
        out.act(observations(1)[0], nfe=2)


def test_wrong_observations_are_refused_alike(exported, observations):
    row = observations(1)[0] | {"object": np.zeros(14)}
    with pytest.raises(InputError, match=r"shape \(14,\); the policy was trained with \(10,\)"):
        isd_policy.load(exported[1]).act(row)


@pytest.mark.parametrize("name", ["policy.onnx", "export.json"])
def test_a_changed_byte_of_an_export_is_noticed(exported, name):
    file = exported[1] / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged|format|not valid JSON"):
        isd_policy.load(exported[1])


def test_an_export_is_for_the_processor(exported):
    with pytest.raises(InputError, match="device=cuda needs a bundle"):
        isd_policy.load(exported[1], device="cuda")


@pytest.mark.parametrize(
    "words",
    [
        ["formats=[]"],
        ["formats=[tflite]"],
        ["nfe=0"],
        ["batch=0"],
        ["precision=int4"],
        ["precision=int8"],
        ["precision=bfloat16"],
    ],
)
def test_settings_out_of_range(words, make_bundle, tmp_path, capsys):
    words = [f"bundle={make_bundle()}", f"out={tmp_path / 'e'}", *words]
    assert export.main.run(*words) == 2
    assert words[-1].partition("=")[0] in capsys.readouterr().err


def test_what_is_no_bundle_is_an_input_error(run, tmp_path, capsys):
    words = [f"bundle={run}", f"out={tmp_path / 'e'}"]
    assert export.main.run(*words) == 2
    assert "There is no bundle" in capsys.readouterr().err


# -- weights as bytes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Conv2d(6, 8, (1, 5), (1, 1), (0, 2)),
        torch.nn.Conv2d(6, 8, (1, 3), (1, 2), (0, 1)),
        torch.nn.Conv2d(6, 8, (1, 1)),
        torch.nn.ConvTranspose2d(6, 8, (1, 4), (1, 2), (0, 1)),
        torch.nn.ConvTranspose2d(6, 8, (1, 3), (1, 1), (0, 1)),
    ],
    ids=str,
)
def test_the_taps_of_a_convolution(layer):
    x = torch.randn(6, 16)
    kernel, stride, padding = layer.kernel_size[1], layer.stride[1], layer.padding[1]
    transposed = isinstance(layer, torch.nn.ConvTranspose2d)
    index = int8.taps(16, kernel, stride, padding, transposed)
    weight = layer.weight[:, :, 0].permute(2, 0, 1) if transposed else layer.weight[:, :, 0].permute(2, 1, 0)
    steps = torch.cat([x.T, torch.zeros(1, 6)])[torch.from_numpy(index)]  # [T', k, C_in]
    y = torch.einsum("tki,kio->ot", steps, weight) + layer.bias[:, None]
    torch.testing.assert_close(y, layer(x[None, :, None])[0, :, 0], atol=1e-5, rtol=1e-5)


def test_a_graph_in_matrix_products_is_the_same(policy, fixed):
    import onnx

    model = int8.in_products(onnx.load(fixed / "policy.onnx"))
    assert not {"Conv", "ConvTranspose", "Gemm"} & {node.op_type for node in model.graph.node}
    onnx.save(model, fixed / "policy.onnx")
    forms = {"products": OnnxPolicy.of(policy, fixed / "policy.onnx", 2, batch=4).infer}
    assert largest_differences(policy, forms, 2, count=52)["products"] < TOLERANCE


def test_weights_as_bytes_act_almost_alike(policy, fixed):
    file = fixed / "policy.onnx"
    size = file.stat().st_size
    int8.quantise(file)
    assert file.stat().st_size < size
    forms = {"bytes": OnnxPolicy.of(policy, file, 2, batch=4).infer}
    assert TOLERANCE < largest_differences(policy, forms, 2, count=52)["bytes"] < TOLERANCES["int8"]


def test_an_export_of_bytes_computes_row_by_row(make_bundle, tmp_path, monkeypatch, observations):
    monkeypatch.setattr(writer, "OBSERVATIONS", 20)
    words = [f"bundle={make_bundle()}", f"out={tmp_path / 'bytes'}", "formats=[onnx]", "precision=int8", "batch=1"]
    assert export.main.run(*words) == 0
    graph = folder.read(tmp_path / "bytes").meta["graph"]
    assert graph["precision"] == "int8"
    assert TOLERANCE < graph["difference"]["onnx"] < TOLERANCES["int8"]
    rough = isd_policy.load(tmp_path / "bytes")
    calls = [Call([rough.row(row)] * 2, (0, i)) for i, row in enumerate(observations(3))]
    together = rough.infer(rough.preprocess(calls))
    np.testing.assert_array_equal(together[2:], rough.infer(rough.preprocess(calls[2:])))


# -- products of bfloat16 numbers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_numbers():
    """Skips on processors that cannot multiply bfloat16 numbers."""
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16 instructions")


@pytest.mark.parametrize("batch", ["1", "null"])
def test_an_export_with_bfloat16_products(batch, short_numbers, make_bundle, tmp_path, monkeypatch, observations):
    monkeypatch.setattr(writer, "OBSERVATIONS", 20)
    bundle = make_bundle()
    words = [f"bundle={bundle}", f"out={tmp_path / 'short'}", "formats=[onnx]", "precision=bfloat16"]
    assert export.main.run(*words, f"batch={batch}") == 0
    graph = folder.read(tmp_path / "short").meta["graph"]
    assert graph["precision"] == "bfloat16"
    assert TOLERANCE < graph["difference"]["onnx"] < TOLERANCES["bfloat16"]
    rough = isd_policy.load(tmp_path / "short")
    calls = [Call([rough.row(row)] * 2, (0, i)) for i, row in enumerate(observations(3))]
    exact = isd_policy.load(bundle)
    unit = (exact.action_range[1] - exact.action_range[0]) / 2
    difference = np.abs(rough.infer(rough.preprocess(calls)) - exact.infer(exact.preprocess(calls))) / unit
    assert difference.max() < TOLERANCES["bfloat16"]


def test_without_bfloat16_instructions_another_precision_is_advised(exported, monkeypatch):
    openvino = pytest.importorskip("openvino")

    class Old:
        def get_property(self, device, name):
            return ["FP32"]

    monkeypatch.setattr(openvino, "Core", Old)
    with pytest.raises(InputError, match="precision=float32 or int8"):
        session_of(exported[1] / folder.ONNX, 1, "bfloat16")


def test_a_precision_that_nothing_computes_is_refused(exported):
    with pytest.raises(InputError, match="'float8' is unknown"):
        session_of(exported[1] / folder.ONNX, 1, "float8")


def test_a_graph_that_gives_no_numbers_is_not_taken_for_the_policy(policy):
    def broken(inputs):
        return np.full_like(policy.infer(inputs, 1), np.nan)

    with pytest.raises(FloatingPointError, match="not finite"):
        largest_differences(policy, {"broken": broken}, 1, count=10)


def test_an_export_tells_of_far_observations_and_refuses_to_act_on_what_overflows(exported, observations):
    exported_policy = isd_policy.load(exported[1])
    far = {key: np.full_like(value, 3e38) for key, value in observations(1)[0].items()}
    with pytest.warns(RuntimeWarning, match="far from the training data"):
        exported_policy.row(far)
    with pytest.raises(FloatingPointError, match="not finite"):
        exported_policy.act(far)


@pytest.mark.parametrize("value", [1e10, 1e20, -3e38])
def test_an_export_answers_no_observation_that_the_policy_does_not_answer(exported, observations, value):
    """ONNX Runtime stays finite at 1e20, where torch does not: the rule is in the graph."""
    bundle, export = (isd_policy.load(place) for place in exported)
    near = bundle.row(observations(1)[0])
    far = near | {"object": np.full_like(near["object"], value)}
    for policy in (bundle, export):
        calls = [Call([near, near], (0, 0)), Call([near, far], (0, 1))]
        actions = policy.infer(policy.preprocess(calls))
        assert np.isfinite(actions[0]).all() and np.isnan(actions[1]).all()
