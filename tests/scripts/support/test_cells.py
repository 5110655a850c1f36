"""Cells of a table: each is computed once, and a table with other settings is refused."""

import json
from dataclasses import dataclass, field, replace

import pytest

from isd_core.support.errors import InputError
from scripts.support.cells import cell_file, run_cells


@dataclass(frozen=True)
class Square:
    number: int
    scale: float = 1.0
    threads: int = field(default=1, compare=False)

    @property
    def name(self):
        return f"square{self.number}"


def square(cell, out):
    with (out / "calls").open("a") as file:
        file.write(f"{cell.number} ")
    if cell.number < 0:
        raise ValueError(cell.number)
    return {"value": cell.scale * cell.number**2}


def calls(out):
    return (out / "calls").read_text().split()


def test_results_are_given_by_name(tmp_path):
    records = run_cells(square, [Square(2), Square(3)], tmp_path, 1, "squares")
    assert {name: record["result"]["value"] for name, record in records.items()} == {"square2": 4, "square3": 9}


def test_a_finished_cell_is_not_computed_again(tmp_path):
    run_cells(square, [Square(2)], tmp_path, 1, "squares")
    run_cells(square, [Square(2), Square(3)], tmp_path, 1, "squares")
    assert calls(tmp_path) == ["2", "3"]


def test_what_was_done_before_a_failure_stays(tmp_path):
    with pytest.raises(ValueError):
        run_cells(square, [Square(2), Square(-1)], tmp_path, 1, "squares")
    run_cells(square, [Square(2)], tmp_path, 1, "squares")
    assert calls(tmp_path) == ["2", "-1"]


def test_other_settings_are_refused_with_the_field(tmp_path):
    run_cells(square, [Square(2)], tmp_path, 1, "squares")
    with pytest.raises(InputError, match=r"scale=1\.0.*scale=2\.0"):
        run_cells(square, [replace(Square(2), scale=2.0)], tmp_path, 1, "squares")


def test_a_record_from_before_a_field_was_made_with_its_default(tmp_path):
    run_cells(square, [Square(2)], tmp_path, 1, "squares")
    path = cell_file(tmp_path, Square(2))
    record = json.loads(path.read_text())
    del record["settings"]["scale"]
    path.write_text(json.dumps(record))
    run_cells(square, [Square(2)], tmp_path, 1, "squares")
    assert calls(tmp_path) == ["2"]
    with pytest.raises(InputError, match=r"scale=1\.0.*scale=2\.0"):
        run_cells(square, [replace(Square(2), scale=2.0)], tmp_path, 1, "squares")


def test_a_field_that_changes_no_result_does_not_count(tmp_path):
    run_cells(square, [Square(2)], tmp_path, 1, "squares")
    run_cells(square, [Square(2, threads=4)], tmp_path, 1, "squares")
    assert calls(tmp_path) == ["2"]


def test_a_record_names_settings_and_versions(tmp_path):
    run_cells(square, [Square(2)], tmp_path, 1, "squares")
    record = json.loads(cell_file(tmp_path, Square(2)).read_text())
    assert record["settings"] == {"number": 2, "scale": 1.0, "threads": 1}
    assert "torch" in record["versions"]
