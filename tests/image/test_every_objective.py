"""`objective=X` trains an image model and samples it, for every X that is not for policies alone."""

import pytest
import torch

from isd_core.cli import CONFIGS
from isd_image import train
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
        return call(train, "image_train", *words, *overrides), folder

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
    assert "of isd_policy" in capsys.readouterr().err
