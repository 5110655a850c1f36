"""`objective=X` trains and acts, for every X of the config group."""

import pytest
import torch

import isd_policy
from isd_core.support.cli import CONFIGS
from isd_policy import commands

NFE = {"regression": 1, "drifting": 1, "mip": 2, "ddpm": 10}
DISTILLED = {"distill": "objective.target.checkpoint", "distill_lagrangian": "objective.velocity.checkpoint"}
NAMES = sorted(path.stem for path in (CONFIGS / "objective").glob("*.yaml"))


@pytest.fixture
def train_policy(demo_file, tmp_path):
    """train_policy(objective, *overrides): the exit code and the run's folder."""

    def call(objective, *overrides):
        folder = tmp_path / objective
        words = [f"data={demo_file}", f"objective={objective}", f"run_dir={folder}", "network=unet1d_small"]
        words += ["network.widths=[8,16]", "trainer.steps=2", "trainer.batch_size=8", "trainer.device=cpu"]
        return commands.train.run(*words, *overrides), folder

    return call


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DISTILLED])
def test_it_trains_and_acts(name, train_policy, sizes):
    code, folder = train_policy(name)
    assert code == 0
    policy = isd_policy.load(folder)
    obs = {key: torch.zeros(1, 2, size) for key, size in sizes.items()}
    actions = policy.plan(obs, torch.randn(1, 16, 7), NFE.get(name, 2))
    assert torch.isfinite(actions).all()


@pytest.mark.parametrize("name", DISTILLED)
def test_a_teacher_is_distilled(name, train_policy):
    _, teacher = train_policy("flow_matching")
    assert train_policy(name, f"{DISTILLED[name]}={teacher}")[0] == 0


def test_a_teacher_on_another_path_is_refused(train_policy, capsys):
    _, teacher = train_policy("flow_matching")
    code, _ = train_policy("distill", f"objective.target.checkpoint={teacher}", "path=trigonometric")
    assert code == 2
    assert "trained on Linear()" in capsys.readouterr().err


def test_a_distillation_without_a_teacher_is_refused(train_policy, capsys):
    assert train_policy("distill")[0] == 2
    assert "objective.target.checkpoint" in capsys.readouterr().err


def test_an_unknown_objective_lists_the_known_ones(train_policy, capsys):
    assert train_policy("idsd")[0] == 2
    error = capsys.readouterr().err
    assert all(name in error for name in NAMES)


@pytest.mark.parametrize("words", [["guidance=pre"], ["guidance=post"], ["guidance=interval", "network.guided=true"]])
def test_guidance_leaves_out_the_observation(words, train_policy, sizes):
    code, folder = train_policy("isd", *words)
    assert code == 0
    obs = {key: torch.zeros(1, 2, size) for key, size in sizes.items()}
    assert torch.isfinite(isd_policy.load(folder).plan(obs, torch.randn(1, 16, 7), 1)).all()


@pytest.mark.parametrize(
    "objective, words, message",
    [
        ("isd", ["guidance=interval"], "network.guided=true"),
        ("regression", ["guidance=pre"], "would do nothing"),
        ("ddpm", ["weighting=cosine"], "would do nothing"),
    ],
)
def test_choices_that_would_do_nothing_are_refused(objective, words, message, train_policy, capsys):
    assert train_policy(objective, *words)[0] == 2
    assert message in capsys.readouterr().err
