"""The data benchmark on a file of a few windows."""

import h5py
import numpy as np
import pytest

from isd_core.support.files import read_json
from scripts.benchmarks import data as benchmark_data


@pytest.fixture
def demonstrations(tmp_path):
    path = tmp_path / "demos.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = '{"env_name": "Lift", "env_kwargs": {}}'
        for i in range(3):
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"] = 30
            demo["actions"] = rng.normal(size=(30, 7))
            demo["obs/object"] = rng.normal(size=(30, 10))
            demo["obs/front_image"] = rng.integers(0, 256, (30, 8, 8, 3), np.uint8)
    return path


def run(*words):
    return benchmark_data.main([*map(str, words)])


def test_every_way_is_measured(demonstrations, tmp_path, capsys):
    pytest.importorskip("zarr", reason="the zarr extra is not installed")
    out = tmp_path / "table.json"
    assert run(demonstrations, "--seconds", "0.05", "--out", out) == 0
    measured = read_json(out)["windows_per_second"]
    assert {"numbers, memory (ours)", "pictures, memory (ours)", "pictures, zarr (ours)"} <= measured.keys()
    assert min(value for value in measured.values() if value is not None) > 0
    assert "| pictures, zarr | ours |" in capsys.readouterr().out


def test_an_unknown_key_is_named(demonstrations, capsys):
    assert run(demonstrations, "--keys", "color") == 2
    assert "no observation color" in capsys.readouterr().err
