"""Arrays in npz files, in parts."""

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_image.npz import DAMAGED, Rows, Streamed, write_npz


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (23, 4, 5, 3), dtype=np.uint8)


def test_what_is_written_in_parts_is_what_numpy_reads(images, tmp_path):
    parts = Streamed(images.shape, iter(np.array_split(images, 4)))
    write_npz(tmp_path / "x.npz", {"arr_0": parts, "n": np.arange(3), "about": "text"})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["arr_0"], images)
        assert (file["n"].tolist(), str(file["about"])) == ([0, 1, 2], "text")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_in_parts(images, tmp_path, save):
    save(tmp_path / "x.npz", arr_0=images)
    rows = Rows.open(tmp_path / "x.npz", "arr_0")
    parts = list(rows.parts(10))
    assert [len(part) for part in parts] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate(parts), images)


def test_a_flipped_bit_is_noticed(images, tmp_path):
    np.savez(tmp_path / "x.npz", arr_0=images)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[600] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises((InputError, *DAMAGED)):
        list(Rows.open(tmp_path / "x.npz", "arr_0").parts(10))


def test_pickles_are_not_read(tmp_path):
    np.savez(tmp_path / "x.npz", arr_0=np.array([{}], dtype=object))
    rows = Rows.open(tmp_path / "x.npz", "arr_0")
    with pytest.raises((InputError, *DAMAGED)):
        list(rows.parts(10))


def test_too_few_rows_leave_no_file(images, tmp_path):
    with pytest.raises(ValueError, match="23 rows were written, 24 announced"):
        write_npz(tmp_path / "x.npz", {"arr_0": Streamed((24, 4, 5, 3), iter([images]))})
    assert not list(tmp_path.iterdir())
