"""What the data never moved, the robot is never told to move: in every backend."""

import numpy as np
import pytest
import torch

import isd_policy

CONSTANT = 0.3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A policy of actions with a constant in the middle, hardly trained, so that its predictions are wild."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.5, 2.0, (60, 3)).astype(np.float32)
    actions[:, 1] = CONSTANT
    demos = isd_policy.Demonstrations.from_arrays(
        observations={"state": rng.uniform(-1, 1, (60, 2))}, actions=actions, episode_ends=range(10, 61, 10), rate=20
    )
    folder = tmp_path_factory.mktemp("constant") / "run"
    settings = {"network.widths": [8, 16], "trainer": {"batch_size": 8, "device": "cpu"}}
    isd_policy.train(demos, network="unet1d_small", steps=1, run_dir=folder, **settings)
    return folder, actions


def check(chunks, actions):
    chunks = np.stack(chunks)
    assert chunks.shape[1:] == (8, 3)
    np.testing.assert_array_equal(chunks[..., 1], np.float32(CONSTANT))
    assert (chunks >= actions.min(0)).all() and (chunks <= actions.max(0)).all()
    assert chunks[..., 0].std() > 0


def act(policy):
    policy.reset(seed=1)
    return [policy.act({"state": np.full(2, 5.0 * i)}) for i in range(6)]


def test_torch_gives_the_constant_and_stays_in_range(run):
    folder, actions = run
    policy = isd_policy.load(folder)
    assert policy.action_size == 2
    check(act(policy), actions)


def test_a_bundle_and_an_export_do_too(run, tmp_path):
    pytest.importorskip("onnxruntime")
    from isd_policy.deploy.export import __main__ as export

    folder, actions = run
    policy = isd_policy.load(folder)
    bundle = policy.save(tmp_path / "policy.isd")
    check(act(isd_policy.load(bundle)), actions)
    assert export.main.run(f"bundle={bundle}", f"out={tmp_path / 'policy.export'}", "formats=[onnx]") == 0
    exported = act(isd_policy.load(tmp_path / "policy.export"))
    check(exported, actions)
    torch.testing.assert_close(torch.tensor(np.stack(exported)), torch.tensor(np.stack(act(policy))), atol=1e-5, rtol=0)
