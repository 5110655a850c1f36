"""Hostile files have names of their own, change one place, and a program that runs is noticed."""

import copy

import pytest

from scripts.benchmarks.attacks import hostile


@pytest.fixture
def card():
    config = {key: {"type": "ours"} for key in hostile.SLOTS}
    config["network"] = {"hidden": 8}
    config["schema"] = {"observations": {"object": [10]}}
    return {"nfe": 1, "config": copy.deepcopy(config)}


def test_every_change_has_a_name_and_changes_something(card, tmp_path):
    changes = list(hostile.config_changes(tmp_path / "touched"))
    assert len({name for name, _ in changes}) == len(changes) > 300
    for name, change in changes:
        changed = copy.deepcopy(card["config"])
        change(changed)
        assert changed != card["config"], name


def test_a_program_that_runs_is_noticed(tmp_path):
    marker = tmp_path / "touched"
    assert hostile.tried(marker.touch, marker) == "a program ran"
    assert not marker.exists()


def test_a_part_of_the_changes_is_drawn_by_the_seed():
    changes = [(str(n), lambda config: None) for n in range(50)]
    first, again, other = ([name for name, _ in hostile.chosen(changes, 10, seed)] for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 10
    assert hostile.chosen(changes, 100, 0) == changes


def test_no_program_runs_from_any_file(tmp_path):
    """What is no program may still be an odd value; here nothing but programs and strangers is tried."""
    bundles, checkpoints, descriptions, images = hostile.hostile(tmp_path, 12, seed=0)
    assert [tally.tried for tally in (bundles, checkpoints, descriptions, images)] == [12, 12, 7, 12]
    assert not [e for tally in (bundles, checkpoints, images) for e in tally.examples if "a program ran" in e]
