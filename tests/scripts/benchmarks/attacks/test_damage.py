"""Damage is done to one file at a time, found where it is not refused, and undone."""

import numpy as np
import pytest

from isd_core.support.errors import InputError
from scripts.benchmarks.attacks import damage
from scripts.benchmarks.attacks.damage import files_of, flip_bits, lose_files
from scripts.benchmarks.attacks.tally import Tally


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "read").write_bytes(bytes(range(50)))
    (tmp_path / "unread").write_bytes(b"x")
    return tmp_path


def careless(folder):
    return lambda: np.frombuffer((folder / "a" / "read").read_bytes(), np.uint8)


def careful(folder):
    def act():
        found = careless(folder)()
        if not np.array_equal(found, np.arange(50)):
            raise InputError("damaged")
        return found

    return act


def test_a_careful_reader_refuses_and_a_careless_one_lets_through(folder):
    found = flip_bits(Tally("bits"), folder, careful(folder), 20, seed=0)
    assert (found.refused, found.unharmed, found.got_through) == (10, 10, 0)
    found = flip_bits(Tally("bits"), folder, careless(folder), 20, seed=0)
    assert (found.refused, found.unharmed, found.got_through) == (0, 10, 10)


def test_every_file_is_lost_once(folder):
    found = lose_files(Tally("lost"), folder, careless(folder))
    assert (found.unharmed, found.errors, found.tried) == (1, 1, 2)
    assert "FileNotFoundError" in found.examples[0]


def test_all_is_as_before_afterwards(folder):
    before = {path: path.read_bytes() for path in files_of(folder)}
    flip_bits(Tally("bits"), folder, careless(folder), 7, seed=1)
    lose_files(Tally("lost"), folder, careless(folder))
    assert {path: path.read_bytes() for path in files_of(folder)} == before


def test_every_bit_of_a_policys_files_is_safe(tmp_path):
    pytest.importorskip("onnxruntime", reason="the export extra is not installed")
    tallies = damage.flips(tmp_path, 12, seed=3)
    assert [tally.tried for tally in tallies] == [12] * 3
    assert not [example for tally in tallies for example in tally.examples]
