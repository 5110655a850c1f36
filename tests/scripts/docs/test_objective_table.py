"""The page of objectives says what is: its configs, its passes, its tests."""

import re
from pathlib import Path

import pytest

from scripts.docs import objective_table
from scripts.support import pages

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "objectives.md").read_text()
KNOWN = sorted(path.stem for path in (ROOT / "configs" / "objective").glob("*.yaml"))


def test_every_objective_has_a_test():
    assert sorted(objective_table.TESTS) == KNOWN


def test_the_table_is_that_of_the_configs():
    """Equations from the headers, counted passes: `python -m scripts.docs.objective_table --write` renews it."""
    parts = {objective_table.NAME: objective_table.table()}
    assert f"<!-- {objective_table.KIND} {objective_table.NAME} -->" in PAGE
    assert pages.filled(objective_table.PAGE, parts, objective_table.KIND) == PAGE


@pytest.mark.parametrize("test", sorted(set(objective_table.TESTS.values())))
def test_the_tests_that_it_names_exist(test):
    file, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text() or not name


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`((?:tests|isd_core|isd_policy)/[\w/.]+)`", PAGE))))
def test_files_that_the_page_names_exist(file):
    assert (ROOT / file).exists()
