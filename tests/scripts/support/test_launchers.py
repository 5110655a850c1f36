import os
from pathlib import Path

import pytest

from isd_core.support.errors import InputError
from scripts.support.launchers import launch


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "submitit", "ray"])
def test_every_piece_is_done_once_in_other_processes(launcher, tmp_path, monkeypatch):
    if launcher != "local":
        pytest.importorskip(launcher, reason=f"{launcher} is not installed")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    folders = [str(tmp_path / name) for name in "abc"]
    done = list(launch(os.mkdir, folders, 2, launcher, tmp_path / "logs"))  # which fails where it is done twice
    assert sorted(done) == folders
    assert all(Path(folder).is_dir() for folder in folders)


def test_an_error_of_a_piece_is_raised(tmp_path):
    with pytest.raises(FileExistsError):
        list(launch(os.mkdir, [str(tmp_path)], 1, "local", tmp_path))


def test_an_unknown_launcher_lists_the_known(tmp_path):
    with pytest.raises(InputError, match="local, submitit, ray"):
        list(launch(os.mkdir, ["a"], 1, "slurm", tmp_path))
