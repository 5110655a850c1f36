"""`objective=X` trains an image model and samples it, for every X that is not for policies alone."""

import pytest
import torch

from isd_core.support.cli import CONFIGS
from isd_image import commands, sample
from isd_image.build import load_generator

POLICIES = ("ddpm", "mip", "regression")
DISTILLED = {"distill": "objective.target.checkpoint", "distill_lagrangian": "objective.velocity.checkpoint"}
NAMES = sorted(path.stem for path in (CONFIGS / "objective").glob("*.yaml"))
SMALL = ["trainer.batch_size=8", "network.width=16", "network.depth=1", "network.heads=2", "trainer.device=cpu"]


@pytest.fixture
def train_image(call, tmp_path):
    """train_image(objective, *overrides): the exit code and the run's folder."""

    def run(objective, *overrides):
        folder = tmp_path / objective
        words = [f"objective={objective}", f"run_dir={folder}", "trainer.steps=2", *SMALL]
        return call(commands.train, "image_train", *words, *overrides), folder

    return run


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*POLICIES, *DISTILLED)])
@pytest.mark.parametrize("derivative", ["difference", "jvp"])
def test_it_trains(name, derivative, train_image):
    code, folder = train_image(name, f"derivative={derivative}")
    assert code == 0
    weights = load_generator(folder, "model", "cpu").model.state_dict().values()
    assert all(torch.isfinite(value).all() for value in weights)


@pytest.mark.parametrize("name", DISTILLED)
def test_a_teacher_is_distilled(name, train_image):
    _, teacher = train_image("flow_matching")
    assert train_image(name, f"{DISTILLED[name]}={teacher}")[0] == 0


@pytest.mark.parametrize("name", POLICIES)
def test_an_objective_of_policies_is_refused(name, train_image, capsys):
    assert train_image(name)[0] == 2
    message = capsys.readouterr().err
    assert f"no objective called `{name}` here" in message or "is for policy models alone" in message


INTERVAL = ["guidance=interval", "network=in_context_xl1", "network.patch=2", "network.context_from=0"]


def samples(call, folder, *overrides):
    """The exit code of drawing two images."""
    words = [f"checkpoint={folder}", f"out={folder}/x.png", "nfe=[1]", "count=2", "batch_size=2", "device=cpu"]
    return call(sample, "image_sample", *words, *overrides)


def test_the_interval_is_an_input_of_the_network(train_image, call):
    code, folder = train_image("isd", *INTERVAL)
    assert code == 0
    assert samples(call, folder, "inputs.omega=3", "inputs.t_min=0.1") == 0


def test_an_interval_that_the_network_cannot_see_is_refused(train_image, capsys):
    assert train_image("isd", "guidance=interval")[0] == 2
    assert "DiT has no input for omega" in capsys.readouterr().err


@pytest.mark.parametrize(
    "guidance, code, message",
    [("none", 2, "never saw a row without condition"), ("post", 0, ""), ("pre", 0, "the two scales multiply")],
)
def test_guidance_at_sampling_is_for_networks_that_know_no_class(guidance, code, message, train_image, call, capsys):
    _, folder = train_image("isd", f"guidance={guidance}")
    capsys.readouterr()
    assert samples(call, folder, "cfg_scale=2") == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("objective", ["ict", "scm"])
def test_guidance_in_training_needs_a_trained_diagonal(objective, train_image, capsys):
    assert train_image(objective, "guidance=pre")[0] == 2
    assert "never trained" in capsys.readouterr().err
