"""The digits' data, and the commands from training to a picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from isd_core.support.errors import InputError
from isd_core.training import checkpoint
from isd_image import commands, sample
from isd_image.build import load_generator
from isd_image.data import Digits, LabelledImages
from isd_image.generate import SamplePlan

SMALL = ["trainer.batch_size=16", "network.width=16", "network.depth=1", "network.heads=2", "trainer.device=cpu"]


@pytest.fixture(scope="module")
def train_digits(call):
    """train_digits(run_dir, steps, *overrides): the exit code of a small training."""

    def run(run_dir, steps: int, *more: str) -> int:
        return call(commands.train, "image_train", f"run_dir={run_dir}", f"trainer.steps={steps}", *SMALL, *more)

    return run


@pytest.fixture(scope="module")
def run_dir(train_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "run"
    assert train_digits(folder, 4) == 0
    return folder


def test_the_splits_are_disjoint_and_whole():
    source = Digits(held_out=360, split_seed=0)
    train_images, held_out = source.split("train"), source.split("held_out")
    assert (len(train_images), len(held_out)) == (1437, 360)
    both = torch.cat([train_images.images, held_out.images]).flatten(1).double().sum()
    everything = Digits(held_out=1, split_seed=3)
    parts = [everything.split(name).images.flatten(1).double().sum() for name in ("train", "held_out")]
    assert both == sum(parts)


def test_pixels_are_in_range():
    images = Digits(held_out=360, split_seed=0).split("train").images
    assert (images.min(), images.max(), images.shape[1:]) == (-1, 1, (1, 8, 8))


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(InputError, match="labels run from 0 to 4"):
        LabelledImages(torch.zeros(2, 1, 8, 8), torch.tensor([0, 4]), classes=4, source="here")


def test_pixels_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="NaN"):
        LabelledImages(torch.full((1, 1, 8, 8), torch.nan), torch.tensor([0]), classes=4, source="here")


def test_the_null_label_is_the_number_of_classes(run_dir):
    guidance = checkpoint.load(run_dir).config["objective"]["guidance"]
    assert guidance["null"] == {"label": 10}


def test_training_leaves_a_grid_beside_each_checkpoint(run_dir):
    grid = np.asarray(Image.open(run_dir / "samples" / "step_00000004.png"))
    assert grid.shape[0] > 3 * 4 * 8 * 4


def test_missing_codec_weights_are_found_before_training(train_digits, tmp_path, capsys):
    assert train_digits(tmp_path / "run", 2, "codec=taef2") == 2
    assert "weights of the codec `taef2` are missing" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_resuming_repeats_an_uninterrupted_run(train_digits, run_dir, tmp_path):
    assert train_digits(tmp_path / "again", 4, "trainer.schedule=constant") == 0
    assert train_digits(tmp_path / "again", 6, "trainer.schedule=constant") == 0
    assert train_digits(tmp_path / "whole", 6, "trainer.schedule=constant") == 0
    again, whole = (checkpoint.load(tmp_path / name).tensors("model") for name in ("again", "whole"))
    assert all(torch.equal(again[key], whole[key]) for key in whole)


@pytest.fixture
def sample_digits(call):
    """sample_digits(checkpoint, out, *overrides): the exit code of the sample command."""

    def run(checkpoint, out, *more: str) -> int:
        return call(sample, "image_sample", f"checkpoint={checkpoint}", f"out={out}", "device=cpu", "count=20", *more)

    return run


def test_the_grid_has_a_panel_for_each_nfe(sample_digits, run_dir, tmp_path):
    assert sample_digits(run_dir, tmp_path / "one.png", "nfe=[1]") == 0
    assert sample_digits(run_dir, tmp_path / "two.png", "nfe=[1,2]") == 0
    one, two = (np.asarray(Image.open(tmp_path / name)) for name in ("one.png", "two.png"))
    assert one.shape[1] == two.shape[1] > 10 * 8 * 4
    np.testing.assert_array_equal(two[: len(one) - 4], one[:-4])


def test_a_sample_depends_on_its_number_and_class_alone(run_dir):
    generator = load_generator(run_dir, "ema", "cpu")
    labels = [i % 10 for i in range(12)]
    together = generator(3, range(12), labels, nfe=2)
    alone = generator(3, [7], [labels[7]], nfe=2)
    torch.testing.assert_close(together[7:8], alone, rtol=1e-4, atol=1e-5)


def test_a_further_average_can_be_sampled(train_digits, sample_digits, tmp_path):
    short = "+trainer.averages.short={type: constant, decay: 0.0}"
    assert train_digits(tmp_path / "run", 2, short, "grids=null") == 0
    for name in ("model", "ema_short", "ema"):
        assert sample_digits(tmp_path / "run", tmp_path / f"{name}.npz", "nfe=[1]", f"weights={name}") == 0
    drawn = {name: np.load(tmp_path / f"{name}.npz")["arr_0"] for name in ("model", "ema_short", "ema")}
    np.testing.assert_array_equal(drawn["model"], drawn["ema_short"])
    assert not np.array_equal(drawn["model"], drawn["ema"])


def test_the_guidance_interval_is_an_input_of_sampling(train_digits, sample_digits, tmp_path):
    network = ["network=in_context_xl1", "network.context_from=0", "guidance=interval", "grids=null"]
    quick = ["trainer.ema.maximum=0.0", "trainer.warmup=0", "trainer.optimizer.lr=0.01"]
    assert train_digits(tmp_path / "run", 12, *network, *quick) == 0
    drawn = {}
    for omega in (1.0, 4.0):
        out = tmp_path / f"{omega}.npz"
        words = ["nfe=[2]", f"inputs.omega={omega}", "inputs.t_min=0.1", "inputs.t_max=0.8"]
        assert sample_digits(tmp_path / "run", out, *words) == 0
        drawn[omega] = np.load(out)["arr_0"]
    assert not np.array_equal(drawn[1.0], drawn[4.0])


def test_a_checkpoint_without_the_datas_scale_is_refused(run_dir, tmp_path):
    saved = checkpoint.load(run_dir)
    state = {key: value for key, value in saved.tensors("ema").items() if key != "normaliser.std"}
    checkpoint.save(tmp_path, 1, {"ema": state}, {"kind": "image", "config": saved.config})
    with pytest.raises(InputError, match="no latent statistics"):
        load_generator(tmp_path, "ema", "cpu")


def test_a_sample_is_the_same_bit_for_bit_however_many_are_drawn(run_dir):
    generator = load_generator(run_dir, "ema", "cpu")
    few, many = (SamplePlan(lambda device: generator, 3, (1,), count, 4, (1,)) for count in (3, 11))
    np.testing.assert_array_equal(drawn(many)[:3], drawn(few))


def drawn(plan: SamplePlan, processes: int = 1) -> np.ndarray:
    return np.concatenate([images for _, _, images in plan.draw(processes, "cpu")])


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["nfe=[0]"], "nfe=0"),
        (["labels=[11]"], "label 11 is unknown"),
        (["weights=best"], "weights=best"),
        (["count=0"], "at least 1"),
        (["checkpoint=nowhere"], "There is no checkpoint"),
        (["cuont=3"], "`cuont`"),
    ],
)
def test_bad_input_is_explained(sample_digits, run_dir, tmp_path, capsys, overrides, message):
    assert sample_digits(run_dir, tmp_path / "bad.png", *overrides) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bad.png").exists()


def test_an_output_that_is_no_picture_is_refused(sample_digits, run_dir, tmp_path, capsys):
    assert sample_digits(run_dir, tmp_path / "bad.mp4") == 2
    assert ".png" in capsys.readouterr().err


def test_data_that_differ_from_the_config_are_refused(train_digits, tmp_path, capsys):
    assert train_digits(tmp_path / "run", 2, "data.classes=9") == 2
    assert "in 10 classes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_kind_is_refused(sample_digits, run_dir, tmp_path, capsys):
    saved = checkpoint.load(run_dir)
    tensors = {"ema": saved.tensors("ema")}
    checkpoint.save(tmp_path, 1, tensors, {"kind": "policy", "config": saved.config})
    assert sample_digits(tmp_path, tmp_path / "bad.png") == 2
    assert "kind `policy`" in capsys.readouterr().err


def test_training_and_sampling_leave_the_process_as_it_was(train_digits, tmp_path, global_state):
    before = global_state()
    assert train_digits(tmp_path / "run", 2, "weighting=learned") == 0
    generator = load_generator(tmp_path / "run", "ema", "cpu")
    generator(seed=0, indices=[0], labels=[3], nfe=1)
    assert global_state() == before
