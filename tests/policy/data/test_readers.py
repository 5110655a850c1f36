"""Readers of one's own: by a decorator, and of an installed distribution."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import isd_policy
from isd_core.support.errors import InputError
from isd_core.support.fields import Count
from isd_core.support.registry import ROLES
from isd_policy import commands
from isd_policy.data import inspect, read

ROOT = Path(__file__).resolve().parents[3]
THEIRS = '''
from dataclasses import dataclass

import numpy as np

from isd_core.support.fields import Count
from isd_policy import Demonstrations, Reader

@dataclass(frozen=True)
class Text(Reader):
    """One row of numbers a step; the last one is the action."""

    kind = "numbers in text"
    length: Count = 5

    def read(self, path, options):
        rows = np.loadtxt(path)
        ends = range(self.length, len(rows) + 1, self.length)
        return Demonstrations.from_arrays(
            observations={"x": rows[:, :-1]}, actions=rows[:, -1:], episode_ends=ends, source=str(path)
        )

    def recognises(self, path, external=False):
        return path.suffix == ".rows"
'''
TINY = ("network=unet1d_small", "network.widths=[8,16]", "trainer.steps=1", "trainer.device=cpu")


@pytest.fixture
def rows(tmp_path):
    np.savetxt(tmp_path / "data.rows", np.random.default_rng(0).normal(size=(20, 4)))
    return tmp_path / "data.rows"


@pytest.fixture
def text_reader():
    """A registered reader; gone afterwards."""

    @isd_policy.register("reader", "text")
    @dataclass(frozen=True)
    class Text(isd_policy.Reader):
        kind = "numbers in text"
        length: Count = 5

        def read(self, path, options):
            values = np.loadtxt(path)
            ends = range(self.length, len(values) + 1, self.length)
            return isd_policy.Demonstrations.from_arrays(
                observations={"x": values[:, :-1]}, actions=values[:, -1:], episode_ends=ends, source=str(path)
            )

        def recognises(self, path, external=False):
            return path.suffix == ".rows"

    yield Text
    del ROLES["reader"].members["text"]


def test_it_is_found_named_and_its_fields_are_set(text_reader, rows):
    assert len(read(rows, {})) == 4
    assert len(read(rows, {"reader": "text"})) == 4
    assert len(isd_policy.read(rows, reader={"type": "text", "length": 10})) == 2
    with pytest.raises(InputError, match=r"dataset\.reader\.length=0: expected an integer of at least 1"):
        read(rows, {"reader": {"type": "text", "length": 0}})
    with pytest.raises(InputError, match="has no field `actions`; text takes: length"):
        read(rows, {"reader": "text", "actions": "act"})


def test_it_works_from_the_command_line(text_reader, rows, tmp_path, capsys):
    words = ["task=own", f"data={rows}", "dataset.reader={type: text, length: 10}", f"run_dir={tmp_path / 'run'}"]
    assert commands.train.run(*words, *TINY, "trainer.batch_size=4") == 0
    assert "2 demonstrations, 20 steps" in capsys.readouterr().out
    assert inspect.main.run(str(rows)) == 0
    printed = capsys.readouterr().out
    assert "numbers in text" in printed and "demonstrations: 4, 20 steps" in printed and "x [3]" in printed


def test_one_of_an_installed_distribution_is_named(rows, tmp_path):
    """As an installer leaves it: a module, and entry points in the distribution's folder."""
    folder = tmp_path / "site"
    info = folder / "their_text-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "their_text.py").write_text(THEIRS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-text\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[isd_flow.readers]\ntheirs = their_text:Text\n")
    command = [sys.executable, "-m", "isd_policy.data.inspect", str(rows), "reader=theirs"]
    path = os.pathsep.join([str(ROOT), str(folder)])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "numbers in text" in done.stdout and "train: yes, task=own" in done.stdout
