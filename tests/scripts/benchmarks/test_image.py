"""The image benchmark at toy size."""

import json

import numpy as np
import pytest
from PIL import Image

from isd_image import cache
from scripts.benchmarks import image as benchmark_image


def benchmark(*words):
    assert benchmark_image.main(words) == 0


def test_a_row_for_each_network_and_derivative(tmp_path, capsys):
    sizes = ["--channels", "1", "--side", "8", "--batch", "2", "--steps", "1", "--device", "cpu", "--checkpointing"]
    benchmark("--network", "dit_digits", *sizes, "--out", str(tmp_path / "b.json"))
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert [(row["network"], row["derivative"]) for row in rows] == [
        ("dit_digits", "jvp"),
        ("dit_digits", "difference"),
    ]
    assert all(row["images_per_second"] == pytest.approx(2 * row["steps_per_second"]) for row in rows)
    assert capsys.readouterr().out.count("| dit_digits |") == 2


def test_the_loader_reads_whole_batches_of_a_cache(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for i in range(6):
        Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(tmp_path / "images" / f"{i}.png")
    words = [f"images={tmp_path / 'images'}", f"out={tmp_path / 'c'}", "codec=identity", "size=8", "device=cpu"]
    assert cache.main.run(*words) == 0
    benchmark("--loader", str(tmp_path / "c"), "--batch", "4")
    assert capsys.readouterr().out.count("images/s") == 2
