"""The first actions of a chunk given in training: nothing changes without them, and no loss is taken where they are."""

import copy

import numpy as np
import pytest
import torch

import isd_policy
from isd_core.support.cli import CONFIGS, compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.training.run import MEMBERS  # noqa: F401 (registers the objectives)
from isd_core.velocities import Averaged
from isd_policy import commands
from isd_policy.backend import Call, Inputs
from isd_policy.build import build_policy
from isd_policy.delays import Exponential, Fixed, NoPrefix, Uniform, check_delay
from isd_policy.networks.prefix import PREFIX

NETWORKS = {
    "unet1d": {"network.widths": [8, 16], "network.embedding": 8, "network.hidden": 8},
    "dit1d": {"network.width": 16, "network.depth": 2, "network.heads": 2},
}
NEEDS_TEACHER = ("distill", "distill_lagrangian")
OBJECTIVES = sorted(path.stem for path in (CONFIGS / "objective").glob("*.yaml") if path.stem not in NEEDS_TEACHER)


def made(config, normaliser, network="unet1d", delay=None, objective="isd"):
    """A policy with weights that are no longer those of the start, and its objective."""
    words = [f"{key}={value}" for key, value in NETWORKS[network].items()]
    words += [f"network={network}", f"objective={objective}", "data=none", "trainer.steps=10"]
    whole = resolved(compose_config("policy_train", words + ([] if delay is None else delay)))
    whole["schema"] = config["schema"]
    policy = build_policy(whole, normaliser)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in policy.net.named_parameters():
            if name != "prefix.weight":
                weight += 0.1 * torch.randn(weight.shape, generator=rng)
    built = build("objective", whole["objective"])
    for source in built.sources():
        if isinstance(source, Averaged):
            source.hold(copy.deepcopy(policy.net).requires_grad_(False))
    return policy, built


@pytest.fixture
def batch(sizes):
    rng = torch.Generator().manual_seed(3)
    obs = {key: torch.randn(6, 2, size, generator=rng) for key, size in sizes.items()}
    return {"obs": obs, "action": 1.4 * torch.rand(6, 16, 7, generator=rng) - 0.5}


def loss_of(policy, objective, batch, chunk_seed=5):
    rng = torch.Generator().manual_seed(chunk_seed)
    x, cond = policy.prepare(batch, rng)
    policy.zero_grad()
    out = objective(policy.net, x, cond, rng, step=2)
    out.loss.backward()
    return out, {name: weight.grad for name, weight in policy.net.named_parameters()}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("network", NETWORKS)
def test_with_no_action_given_losses_and_gradients_are_the_same_bits(objective, network, config, normaliser, batch):
    plain, loss = made(config, normaliser, network, objective=objective)
    told, _ = made(config, normaliser, network, ["delay=fixed"], objective)
    (out, gradients), (told_out, told_gradients) = (loss_of(policy, loss, batch) for policy in (plain, told))
    assert torch.equal(out.loss, told_out.loss)
    assert all(torch.equal(out.terms[name], told_out.terms[name]) for name in out.terms)
    assert all(torch.equal(gradients[name], told_gradients[name]) for name in gradients)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("network", NETWORKS)
def test_no_loss_is_taken_where_actions_are_given(objective, network, config, normaliser, batch):
    """What the network would say there does not matter: neither to the loss nor to a gradient of its output."""
    policy, loss = made(config, normaliser, network, ["delay=fixed", "delay.steps=4"], objective)
    outputs = []

    def watched(module, inputs, F):
        if F.requires_grad:
            F.retain_grad()
            outputs.append(F)

    raw = getattr(policy.net, "net", policy.net)  # inside of a parametrisation
    inner = raw.final if network == "unet1d" else raw.head
    inner.register_forward_hook(watched)
    x, cond = policy.prepare(batch, torch.Generator())
    assert not x[:, 1:5].any() and cond[PREFIX][:, 1:5].all(dim=0).any()
    assert torch.equal(x + cond[PREFIX], policy.normaliser.action(batch["action"]))
    loss_of(policy, loss, batch)
    assert outputs
    for F in outputs:
        steps = F.grad.squeeze(2).transpose(1, 2) if network == "unet1d" else F.grad
        assert not steps[:, 1:5].any() and steps[:, 5:].any() and steps[:, 0].any()


@pytest.mark.parametrize("network", NETWORKS)
def test_the_rest_follows_the_given_actions(network, config, normaliser, batch):
    """With trained weights of the prefix's channels: another prefix, another rest; noise there changes nothing."""
    policy, _ = made(config, normaliser, network, ["delay=uniform"])
    if network == "unet1d":
        torch.nn.init.normal_(policy.net.prefix.weight, std=0.3)
    noise = torch.randn(6, 16, 7)
    length = torch.tensor([0, 1, 2, 3, 5, 6])
    given = torch.rand(6, 6, 7) - 0.4
    first = policy.plan(batch["obs"], noise, 2, prefix=(given, length))
    for row, d in enumerate(length):
        assert torch.equal(first[row, :d], given[row, :d])
    others = policy.plan(batch["obs"], noise, 2, prefix=(given.flip(1), length))
    assert torch.equal(first[0], others[0]) and not torch.isclose(first[4, 5:], others[4, 5:]).all()
    changed = noise.clone()
    changed[4, 1:6] = 7.0
    assert torch.equal(policy.plan(batch["obs"], changed, 2, prefix=(given, length))[4], first[4])
    beyond = given.clone()
    beyond[1, 1:] = 0.9
    assert torch.equal(policy.plan(batch["obs"], noise, 2, prefix=(beyond, length)), first)


@pytest.mark.parametrize("sampler", ["consistency", "ddim", "ddpm", "diagonal", "mip", "regression"])
def test_every_sampler_keeps_the_given_actions(sampler, config, normaliser, batch):
    policy, _ = made(config, normaliser, delay=["delay=uniform", f"sampler={sampler}"])
    given, length = torch.rand(6, 6, 7) - 0.4, torch.full((6,), 3)
    nfe = policy.usual_nfe[0]
    actions = policy.plan(batch["obs"], torch.randn(6, 16, 7), nfe, prefix=(given, length))
    assert torch.equal(actions[:, :3], given[:, :3]) and actions.isfinite().all()


def test_a_policy_without_a_prefix_is_what_zero_actions_give(config, normaliser, batch):
    plain, _ = made(config, normaliser)
    told, _ = made(config, normaliser, delay=["delay=uniform"])
    noise = torch.randn(6, 16, 7)
    assert torch.equal(plain.plan(batch["obs"], noise, 1), told.plan(batch["obs"], noise, 1))


# -- act --------------------------------------------------------------------------------------------------------------


def test_act_answers_with_what_follows_the_prefix(config, normaliser, observations):
    policy, _ = made(config, normaliser, delay=["delay=uniform"])
    (row,) = observations(1)
    prefix = np.full((3, 7), 0.25)
    actions = policy.act(row, prefix=prefix)
    inputs = policy.preprocess([Call([policy.row(row)] * 2, (0, 0), prefix)])
    np.testing.assert_array_equal(actions, policy.infer(inputs)[0, 3:11])
    np.testing.assert_array_equal(policy.infer(inputs)[0, :3], np.float32(prefix))


def test_calls_of_one_batch_have_prefixes_of_their_own(config, normaliser, observations):
    policy, _ = made(config, normaliser, delay=["delay=uniform"])
    rows = [policy.row(obs) for obs in observations(2)]
    given = [None, np.full((2, 7), 0.1), np.full((5, 7), -0.2)]
    calls = [Call(rows, (0, k), prefix) for k, prefix in enumerate(given)]
    together = policy.infer(policy.preprocess(calls))
    for call, actions in zip(calls, together, strict=True):
        np.testing.assert_allclose(policy.infer(policy.preprocess([call]))[0], actions, atol=1e-6)


@pytest.mark.parametrize(
    "prefix, message",
    [
        (np.zeros((7, 7)), "trained with at most 6"),
        (np.zeros((15, 7)), "a chunk has 15 from the newest observation on"),
        (np.zeros((2, 6)), r"expected actions of the robot, \[d, 7\]"),
        (np.zeros(7), r"expected actions of the robot, \[d, 7\]"),
        (np.full((2, 7), np.nan), "not finite"),
        ("two", "`prefix`"),
    ],
)
def test_what_cannot_be_a_prefix_is_refused(prefix, message, config, normaliser, observations):
    policy, _ = made(config, normaliser, delay=["delay=uniform"])
    with pytest.raises(InputError, match=message):
        policy.act(observations(1)[0], prefix=prefix)


def test_a_policy_that_was_trained_without_is_given_no_prefix(policy, observations):
    with pytest.raises(InputError, match="train it with delay=uniform"):
        policy.act(observations(1)[0], prefix=np.zeros((2, 7)))
    policy.act(observations(1)[0], prefix=np.zeros((0, 7)))
    assert policy.longest_prefix is None


def test_inputs_without_a_prefix_are_calls_that_give_none(config, normaliser, observations):
    policy, _ = made(config, normaliser, delay=["delay=uniform"])
    inputs = policy.preprocess([Call([policy.row(obs) for obs in observations(2)], (0, 0))])
    np.testing.assert_array_equal(policy.infer(inputs), policy.infer(Inputs(inputs.obs, inputs.noise)))


# -- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [Fixed(3), Uniform(4), Exponential(4, 0.5), NoPrefix()])
def test_a_law_draws_from_zero_to_its_longest(law):
    d = law.sample(20_000, torch.Generator().manual_seed(0))
    assert d.min() >= 0 and d.max() == law.longest
    if not isinstance(law, Fixed | NoPrefix):
        share = torch.bincount(d).double() / len(d)
        weights = torch.exp(-getattr(law, "decay", 0.0) * torch.arange(5.0)).double()
        torch.testing.assert_close(share, weights / weights.sum(), atol=0.015, rtol=0)


def test_a_delay_beyond_the_chunk_is_refused(config, normaliser):
    check_delay(Uniform(14), 15)
    with pytest.raises(InputError, match="delay of at most 14"):
        made(config, normaliser, delay=["delay=uniform", "delay.most=15"])


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def train_policy(demo_file, tmp_path):
    def call(*words, name="run"):
        common = [f"data={demo_file}", "network=unet1d_small", "network.widths=[8,16]", "trainer.steps=2"]
        common += ["trainer.batch_size=8", "trainer.device=cpu", f"run_dir={tmp_path / name}"]
        return commands.train.run(*common, *words), tmp_path / name

    return call


@pytest.mark.parametrize("law", ["uniform", "exponential", "fixed"])
def test_a_trained_policy_knows_its_delay(law, train_policy, observations):
    code, folder = train_policy(f"delay={law}", f"delay.{'steps' if law == 'fixed' else 'most'}=3")
    assert code == 0
    policy = isd_policy.load(folder)
    assert policy.longest_prefix == 3
    assert policy.act(observations(1)[0], prefix=np.zeros((3, 7))).shape == (8, 7)


def test_a_teacher_that_is_told_nothing_teaches_no_prefix(train_policy, capsys):
    _, teacher = train_policy("objective=flow_matching", name="teacher")
    words = ["objective=distill", f"objective.target.checkpoint={teacher}", "delay=uniform"]
    assert train_policy(*words)[0] == 2
    assert "teacher was trained without" in capsys.readouterr().err
    _, teacher = train_policy("objective=flow_matching", "delay=uniform", name="told")
    assert train_policy("objective=distill", f"objective.target.checkpoint={teacher}", "delay=uniform")[0] == 0


def test_a_network_without_an_input_for_it_is_refused(config, normaliser):
    @isd_policy.register("network", "deaf", head="policy")
    class Deaf(torch.nn.Module):
        def __init__(self, *, action_size: int, condition_size: int, horizon: int, clock: object) -> None:
            super().__init__()

    whole = config | {"network": {"type": "deaf"}, "delay": {"type": "uniform", "most": 3}}
    try:
        with pytest.raises(InputError, match="network=deaf has no input for them"):
            build_policy(whole, normaliser)
    finally:
        from isd_core.support.registry import ROLES

        del ROLES["network"].members["deaf"]
