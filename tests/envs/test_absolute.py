from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_envs import absolute, demos
from isd_envs.spec import EnvSpec


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three demonstrations of Lift."""
    out = tmp_path_factory.mktemp("demos") / "lift.hdf5"
    options = {"noise": 0.05, "extra_steps": 2, "max_steps": 100, "valid_fraction": 0.0}
    demos.generate(EnvSpec(), 3, 1, 4, out, **options)
    return out


@pytest.fixture(scope="module")
def converted(source: Path) -> tuple[Path, dict[str, int]]:
    out = source.with_name("absolute.hdf5")
    return out, absolute.convert(source, out, workers=2)


def test_both_kinds_of_actions_succeed_when_replayed(converted: tuple[Path, dict[str, int]]) -> None:
    assert converted[1] == {"recorded": 3, "absolute": 3, "demonstrations": 3}


def test_poses_lie_a_displacement_away_from_the_hand(source: Path, converted: tuple[Path, dict[str, int]]) -> None:
    """In the base frame: the hand is observed in the world, the base stands at (-.56, 0, .912)."""
    with h5py.File(source) as old, h5py.File(converted[0]) as new:
        hand = old["data/demo_0/obs/robot0_eef_pos"][()] - [-0.56, 0, 0.912]
        pose, action = new["data/demo_0/actions_abs"][()], old["data/demo_0/actions"][()]
    moved = pose[:, :3] - hand
    np.testing.assert_allclose(moved, 0.05 * np.clip(action[:, :3], -1, 1), atol=3e-3)  # observed one substep earlier
    np.testing.assert_array_equal(pose[:, 6], action[:, 6])


def test_everything_else_is_copied(source: Path, converted: tuple[Path, dict[str, int]]) -> None:
    with h5py.File(source) as old, h5py.File(converted[0]) as new:
        assert dict(old["data"].attrs) == dict(new["data"].attrs)
        np.testing.assert_array_equal(old["data/demo_2/states"][()], new["data/demo_2/states"][()])


def test_an_existing_file_is_not_overwritten(source: Path, converted: tuple[Path, dict[str, int]]) -> None:
    with pytest.raises(InputError, match="exists already"):
        absolute.convert(source, converted[0], workers=1)


def test_actions_that_are_absolute_already(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.hdf5"
    copy.write_bytes(source.read_bytes())
    with h5py.File(copy, "r+") as file:
        text = str(file["data"].attrs["env_args"])
        file["data"].attrs["env_args"] = text.replace('"input_type": "delta"', '"input_type": "absolute"')
    code = absolute.main.run(f"data={copy}", f"out={tmp_path / 'out.hdf5'}")
    assert code == 2
    assert "absolute already" in capsys.readouterr().err
    assert not (tmp_path / "out.hdf5").exists()
