"""The page of objectives says what is: its configs, its passes, its tests."""

import re
from pathlib import Path

import pytest

from scripts import objective_table

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "objectives.md").read_text()
KNOWN = sorted(path.stem for path in (ROOT / "configs" / "objective").glob("*.yaml"))


def test_every_objective_has_a_test():
    assert sorted(objective_table.TESTS) == KNOWN


def test_the_table_is_that_of_the_configs():
    """Equations from the configs' headers, counted passes: `python scripts/objective_table.py --write` renews it."""
    assert objective_table.written(PAGE) == PAGE


@pytest.mark.parametrize("test", sorted(set(objective_table.TESTS.values())))
def test_the_tests_that_it_names_exist(test):
    file, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text() or not name


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`((?:tests|isd_core|isd_policy)/[\w/.]+)`", PAGE))))
def test_files_that_the_page_names_exist(file):
    assert (ROOT / file).exists()
