"""A policy that was trained with a delay is given its prefix as a bundle, as an export and behind a server."""

import numpy as np
import pytest
import torch

import isd_policy
from isd_core.training import checkpoint
from isd_policy.backend import Call
from isd_policy.build import build_policy
from isd_policy.deploy.bundle import __main__ as bundle
from isd_policy.deploy.bundle.folder import read
from isd_policy.deploy.client import RemotePolicy, ServerError, pack, unpack
from isd_policy.deploy.export import __main__ as export
from isd_policy.deploy.export.writer import TOLERANCES
from tests.policy.deploy.serving import running


@pytest.fixture
def told(config, normaliser, tmp_path):
    """A bundle of a policy that was trained with delays of up to four steps."""
    whole = config | {"objective": {"type": "eulerian"}, "data": "gone.hdf5", "delay": {"type": "uniform", "most": 4}}
    policy = build_policy(whole, normaliser)
    torch.nn.init.normal_(policy.net.prefix.weight, std=0.3)
    state = policy.state_dict()
    meta = {"kind": "policy", "seed": 0, "config": whole} | checkpoint.provenance()
    checkpoint.save(tmp_path / "told", 1, {"model": state, "ema": state}, meta)
    assert bundle.main.run(f"checkpoint={tmp_path / 'told'}", f"out={tmp_path / 'policy.isd'}") == 0
    return tmp_path / "policy.isd"


@pytest.fixture
def prefix():
    return np.linspace(-0.4, 0.4, 21).reshape(3, 7)


def test_the_card_says_how_long_a_prefix_may_be(told, make_bundle):
    assert read(told).meta["longest_prefix"] == 4
    assert read(make_bundle(name="plain.isd")).meta["longest_prefix"] is None


def test_bundle_export_and_server_answer_alike(told, prefix, observations, tmp_path):
    pytest.importorskip("onnxruntime")
    words = [f"bundle={told}", f"out={tmp_path / 'policy.export'}", "formats=[onnx]"]
    assert export.main.run(*words) == 0
    local, onnx = isd_policy.load(told), isd_policy.load(tmp_path / "policy.export")
    (row,) = observations(1)
    expected, free = local.act(row, prefix=prefix), local.act(row)
    local.reset()
    np.testing.assert_allclose(onnx.act(row, prefix=prefix), expected, atol=TOLERANCES["float32"])
    assert np.abs(expected[:5] - free[3:]).max() > 1e-3
    with running(local, read(told).meta) as server, RemotePolicy(server.url) as remote:
        assert remote.longest_prefix == 4
        np.testing.assert_allclose(remote.act(row, prefix=prefix), expected, atol=1e-6)
        np.testing.assert_allclose(remote.act(row), free, atol=1e-6)


def test_a_client_that_leaves_the_key_out_is_answered_without_a_prefix(told, observations):
    local = isd_policy.load(told)
    (row,) = observations(1)
    with running(local, read(told).meta) as server, RemotePolicy(server.url) as remote:
        frame = remote.preprocess([Call([local.row(row)] * 2, (0, 0))])
        assert unpack(frame)["isd"].keys() == {"stream", "deadline_ms"}
        np.testing.assert_allclose(remote.infer(frame)[0, :8], local.act(row), atol=1e-6)


@pytest.mark.parametrize(
    "given, message",
    [
        (np.zeros((5, 7)), "trained with at most 4"),
        (np.zeros((15, 7)), "nothing would be left"),
        (np.zeros((2, 3)), "expected actions of the robot"),
        (np.full((2, 7), np.inf), "not finite"),
        ([["a"]], "expected numbers"),
        ({"x": 1}, "expected numbers"),
        (3, "expected actions"),
    ],
)
def test_a_prefix_that_cannot_be_one_is_answered_by_a_text_and_the_server_lives_on(told, given, message, observations):
    local = isd_policy.load(told)
    row = local.row(observations(1)[0])
    with running(local, read(told).meta) as server, RemotePolicy(server.url) as remote:
        with pytest.raises(ServerError, match=message):
            remote.infer(pack(row | {"isd": {"prefix": given}}))
        assert remote.act(row).shape == (8, 7)


def test_a_server_whose_policy_takes_none_is_sent_none(make_bundle, prefix, observations):
    folder = make_bundle(name="plain.isd")
    local = isd_policy.load(folder)
    older = {key: value for key, value in read(folder).meta.items() if key != "longest_prefix"}
    for card in (read(folder).meta, older):
        with running(local, card) as server, RemotePolicy(server.url) as remote:
            with pytest.raises(ServerError, match="takes no prefix"):
                remote.act(observations(1)[0], prefix=prefix)
            with pytest.raises(ServerError, match="train it with delay=uniform"):
                remote.infer(pack(local.row(observations(1)[0]) | {"isd": {"prefix": prefix}}))
            assert remote.act(observations(1)[0]).shape == (8, 7)
