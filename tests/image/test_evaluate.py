"""The sampling and evaluation commands: files, processes, numbers with their protocol, bad input."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from isd_core.support import files
from isd_core.training import checkpoint
from isd_image import commands, evaluate, reference, sample
from isd_image.build import load_generator

SMALL = ["trainer.batch_size=16", "network.width=16", "network.depth=1", "network.heads=2", "trainer.device=cpu"]


@pytest.fixture(scope="module")
def run_dir(call, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    assert call(commands.train, "image_train", f"run_dir={folder}", "trainer.steps=2", *SMALL) == 0
    return folder


@pytest.fixture
def draw(call, run_dir):
    def run(out, *more: str) -> int:
        return call(sample, "image_sample", f"checkpoint={run_dir}", f"out={out}", "device=cpu", "nfe=[1]", *more)

    return run


@pytest.fixture
def measure(call):
    return lambda *overrides: call(evaluate, "image_evaluate", "device=cpu", *overrides)


def test_an_npz_has_adms_layout(draw, tmp_path):
    assert draw(tmp_path / "s.npz", "count=23", "batch_size=10") == 0
    file = np.load(tmp_path / "s.npz")
    assert (file["arr_0"].shape, file["arr_0"].dtype) == ((23, 8, 8, 1), np.uint8)
    assert file["arr_1"].tolist() == [i % 10 for i in range(23)]


def test_a_folder_has_one_png_a_sample_and_says_what_they_are(draw, tmp_path):
    assert draw(tmp_path / "s", "count=12", "labels=[3,4]") == 0
    assert draw(tmp_path / "s.npz", "count=12", "labels=[3,4]") == 0
    assert len(list((tmp_path / "s").glob("*.png"))) == 12
    images = np.load(tmp_path / "s.npz")["arr_0"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "s" / "000007.png")), images[7, :, :, 0])
    about = json.loads((tmp_path / "s" / "samples.json").read_text())
    assert (about["samples"]["count"], about["nfe"], about["samples"]["labels"]) == (12, 1, "classes [3, 4] in turn")


def test_samples_do_not_depend_on_the_number_of_processes(draw, tmp_path):
    assert draw(tmp_path / "one.npz", "count=25", "batch_size=10") == 0
    assert draw(tmp_path / "two.npz", "count=25", "batch_size=10", "processes=2") == 0
    one, two = (np.load(tmp_path / name)["arr_0"] for name in ("one.npz", "two.npz"))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("out", ["s.npz", "s"])
def test_one_set_of_samples_has_one_number_of_evaluations(draw, tmp_path, capsys, out):
    assert draw(tmp_path / out, "nfe=[1,2]") == 2
    assert "nfe=[1]" in capsys.readouterr().err
    assert not (tmp_path / out).exists()


def test_a_folder_of_samples_is_never_mixed_with_another(draw, tmp_path, capsys):
    assert draw(tmp_path / "s", "count=2") == 0
    assert draw(tmp_path / "s", "count=2") == 2
    assert "exists already" in capsys.readouterr().err


def test_an_input_that_the_network_does_not_take_is_named(draw, tmp_path, capsys):
    assert draw(tmp_path / "s.png", "inputs.omega=3.0") == 2
    assert "takes no omega" in capsys.readouterr().err


def test_the_report_has_numbers_and_their_protocol(measure, run_dir, tmp_path):
    assert measure(f"checkpoint={run_dir}", "nfe=[1,2]", "count=30", f"out={tmp_path / 'e.json'}") == 0
    report = json.loads((tmp_path / "e.json").read_text())
    assert set(report["nfe"]) == {"1", "2"}
    assert report["nfe"]["1"]["frechet[pixels]"] > report["real"]["frechet[pixels]"] > 0
    assert 0.97 < report["real"]["accuracy"] <= 1
    assert report["protocol"]["samples"]["count"] == 30
    assert report["protocol"]["reference"] == {"split": "train", "images": 1437}
    assert len(report["protocol_sha256"]) == 12
    made = report["generator"]
    assert (made["step"], made["weights"]) == (2, "ema")
    assert made["sha256"] == files.sha256(checkpoint.find(run_dir) / "ema.safetensors")


def test_the_seed_and_the_weights_are_no_part_of_the_protocol(measure, run_dir, tmp_path):
    reports = []
    for name, words in {"a": [], "b": ["seed=1", "weights=model"]}.items():
        out = tmp_path / f"{name}.json"
        assert measure(f"checkpoint={run_dir}", "nfe=[1]", "count=30", f"out={out}", *words) == 0
        reports.append(json.loads(out.read_text()))
    a, b = reports
    assert a["protocol_sha256"] == b["protocol_sha256"]
    assert a["generator"]["sha256"] != b["generator"]["sha256"]


def test_samples_drawn_at_once_from_npz_and_from_png_have_one_protocol(measure, draw, run_dir, tmp_path):
    """The bytes of a file are no part of the protocol; the codec that decoded them is."""
    stats = tmp_path / "stats.npz"
    save_digits_reference(stats)
    assert draw(tmp_path / "s.npz", "count=30", "batch_size=100") == 0
    assert draw(tmp_path / "s", "count=30", "batch_size=100") == 0
    ways = {"drawn": [f"checkpoint={run_dir}", "nfe=[1]", "count=30"]}
    ways |= {name: [f"samples={tmp_path / name}"] for name in ("s.npz", "s")}
    reports = []
    for name, words in ways.items():
        out = tmp_path / f"{name}.json"
        assert measure(*words, f"reference={stats}", f"out={out}") == 0
        reports.append(json.loads(out.read_text()))
    numbers = [next(iter(report["nfe"].values())) for report in reports]
    assert numbers[1] == pytest.approx(numbers[0], rel=1e-9)
    assert numbers[2] == pytest.approx(numbers[0], rel=1e-9)
    assert "accuracy" in numbers[0]
    assert len({report["protocol_sha256"] for report in reports}) == 1
    assert reports[0]["protocol"]["samples"]["codec"]["weights"] == "none"
    assert reports[0]["generator"] == reports[1]["generator"] == reports[2]["generator"]
    assert reports[1]["given"]["sha256"] == files.sha256(tmp_path / "s.npz")


def test_samples_of_a_stranger_have_a_protocol_of_their_own(measure, draw, tmp_path):
    stats = tmp_path / "stats.npz"
    save_digits_reference(stats)
    assert draw(tmp_path / "ours.npz", "count=30") == 0
    images = np.load(tmp_path / "ours.npz")["arr_0"]
    np.savez(tmp_path / "theirs.npz", arr_0=images)
    hashes = []
    for name in ("ours", "theirs"):
        words = [f"samples={tmp_path / name}.npz", f"reference={stats}", f"out={tmp_path / name}.json"]
        assert measure(*words) == 0
        hashes.append(json.loads((tmp_path / f"{name}.json").read_text())["protocol_sha256"])
    assert hashes[0] != hashes[1]


def test_unreadable_samples_count_against_a_share(measure, draw, tmp_path, capsys):
    stats = tmp_path / "stats.npz"
    save_digits_reference(stats)
    assert draw(tmp_path / "s", "count=20") == 0
    (tmp_path / "s" / "000004.png").write_bytes(b"no picture")
    words = [f"samples={tmp_path / 's'}", f"reference={stats}", f"out={tmp_path / 'e.json'}"]
    assert measure(*words) == 2
    assert "bad file 000004.png" in capsys.readouterr().err
    assert measure(*words, "max_bad=0.1") == 0
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["protocol"]["samples"]["count"] == 19
    assert report["given"]["unreadable"][0].startswith("000004.png")


@pytest.fixture
def damaged(run_dir, tmp_path):
    """damaged(change): a copy of the run whose EMA weights went through `change`, with a hash that fits."""

    def make(change):
        copy = tmp_path / "copy"
        shutil.copytree(checkpoint.find(run_dir), copy)
        state = load_file(copy / "ema.safetensors")
        change(state)
        save_file(state, copy / "ema.safetensors")
        meta = json.loads((copy / "meta.json").read_text())
        meta["sha256"]["ema.safetensors"] = files.sha256(copy / "ema.safetensors")
        (copy / "meta.json").write_text(json.dumps(checkpoint.with_hash(meta)))
        return copy

    return make


def test_weights_that_are_nan_give_no_pictures_and_no_numbers(damaged, measure, call, tmp_path, capsys):
    folder = damaged(lambda state: next(iter(state.values())).flatten()[:1].fill_(float("nan")))
    assert measure(f"checkpoint={folder}", "nfe=[1]", "count=10") == 2
    assert "not finite" in capsys.readouterr().err
    assert call(sample, "image_sample", f"checkpoint={folder}", f"out={tmp_path / 'x.png'}", "device=cpu") == 2
    assert not (tmp_path / "x.png").exists()


def test_samples_that_are_not_finite_are_an_error(damaged, measure, capsys):
    folder = damaged(lambda state: [value.fill_(1e30) for key, value in state.items() if key.startswith("net")])
    assert measure(f"checkpoint={folder}", "nfe=[1]", "count=10") == 2
    assert "10 of 10 samples are NaN or infinite" in capsys.readouterr().err


def test_a_codec_of_other_weights_does_not_decode_a_run(run_dir, measure, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("isd_image.codecs.Identity.weights", "something else")
    assert measure(f"checkpoint={run_dir}", "nfe=[1]", "count=10") == 2
    assert "encoded by the codec `identity` with weights none" in capsys.readouterr().err


def test_a_run_of_an_unknown_codec_says_what_decoded_it(damaged, measure, tmp_path):
    folder = damaged(lambda state: None)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["config"]["content"]
    (folder / "meta.json").write_text(json.dumps(checkpoint.with_hash(meta)))
    assert measure(f"checkpoint={folder}", "nfe=[1]", "count=10", f"out={tmp_path / 'e.json'}") == 0
    assert json.loads((tmp_path / "e.json").read_text())["generator"]["codec"]["name"] == "identity"


def test_no_class_is_no_label_of_a_network_that_never_saw_it(call, draw, tmp_path, capsys):
    folder = tmp_path / "run"
    assert (
        call(
            commands.train, "image_train", f"run_dir={folder}", "trainer.steps=1", "guidance=none", "grids=null", *SMALL
        )
        == 0
    )
    words = [f"checkpoint={folder}", f"out={tmp_path / 's.png'}", "device=cpu"]
    assert call(sample, "image_sample", *words, "labels=[10]") == 2
    assert "label 10 means no class, which this network never saw" in capsys.readouterr().err
    assert draw(tmp_path / "t.png", "labels=[10]", "count=2") == 0


def save_digits_reference(path):
    from isd_image.data import Digits
    from isd_image.metrics.extractors import DigitPixels
    from isd_image.metrics.reference import of_split

    of_split(Digits(360, 0).split("train"), "train", DigitPixels(360, 0)).save(path)


def test_statistics_of_a_folder_by_the_command(call, tree, tmp_path, capsys):
    overrides = [f"images={tree}", f"out={tmp_path / 'r.npz'}", "size=8", "extractor=pixels"]
    assert call(reference, "image_reference", *overrides) == 0
    assert "9 images, extractor pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["checkpoint=nowhere"], "There is no checkpoint at nowhere"),
        (["samples=nowhere", "reference=train"], "is a split of a checkpoint's data"),
        (["reference=stats.npz"], r"reference=stats.npz cannot be read"),
        (["samples=x.npz", "extractor=inception"], "has no weights"),
    ],
)
def test_bad_input_is_explained(measure, run_dir, capsys, overrides, message):
    given = [] if overrides[0].startswith("checkpoint") else [f"checkpoint={run_dir}"]
    assert measure(*given, *overrides) == 2
    assert message in capsys.readouterr().err


def no_png(folder):
    return "nothing"


def a_damaged_png(folder):
    (folder / "0.png").write_bytes(b"no picture")
    return "."


def pngs_of_two_sizes(folder):
    for side in (8, 9):
        Image.new("L", (side, 8)).save(folder / f"{side}.png")
    return "."


def an_npz_of_something_else(folder):
    np.savez(folder / "s.npz", x=np.zeros(3))
    return "s.npz"


def an_npz_of_floats(folder):
    np.savez(folder / "s.npz", arr_0=np.zeros((4, 8, 8, 1)))
    return "s.npz"


def an_npz_with_too_few_labels(folder):
    np.savez(folder / "s.npz", arr_0=np.zeros((4, 8, 8, 1), np.uint8), arr_1=np.zeros(3, np.int64))
    return "s.npz"


def an_npz_of_larger_images(folder):
    np.savez(folder / "s.npz", arr_0=np.zeros((4, 9, 9, 1), np.uint8))
    return "s.npz"


def an_npz_of_images_of_no_size(folder):
    np.savez(folder / "s.npz", arr_0=np.zeros((4, 0, 8, 1), np.uint8))
    return "s.npz"


def an_npz_described_by_something_else(folder):
    about = json.dumps({"samples": {"_target_": "os.system"}})
    np.savez(folder / "s.npz", arr_0=np.zeros((4, 8, 8, 1), np.uint8), about=np.array(about))
    return "s.npz"


BAD_SAMPLES = {
    no_png: "is no folder and no .npz",
    a_damaged_png: "bad file 0.png",
    pngs_of_two_sizes: "expected one shape",
    an_npz_of_something_else: "no npz of samples",
    an_npz_of_floats: "expected bytes",
    an_npz_with_too_few_labels: "labels (arr_1) of shape [3]",
    an_npz_of_larger_images: "81 features, the reference 64",
    an_npz_of_images_of_no_size: "at least one pixel",
    an_npz_described_by_something_else: "describes no samples by labels, rounding, codec",
}


@pytest.mark.parametrize("make", BAD_SAMPLES)
def test_samples_that_cannot_be_used_are_named(make, measure, tmp_path, capsys):
    np.savez(tmp_path / "r.npz", mu=np.zeros(64), sigma=np.eye(64), about=json.dumps(ABOUT))
    (tmp_path / "s").mkdir()
    samples = tmp_path / "s" / make(tmp_path / "s")
    assert measure(f"samples={samples}", f"reference={tmp_path / 'r.npz'}", "extractor=pixels") == 2
    assert BAD_SAMPLES[make] in capsys.readouterr().err


ABOUT = {"source": {}, "n": 100, "accuracy": None}
ABOUT["extractor"] = {"name": "pixels", "weights": "none", "resize": "none"}


def test_loading_a_generator_draws_nothing_from_the_callers_random_numbers(run_dir):
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_generator(run_dir, "ema", "cpu")
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)
