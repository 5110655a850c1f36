"""Evaluations that end when the policy is told from another one."""

from types import SimpleNamespace

import pytest

from isd_core.support.errors import InputError
from isd_core.support.files import write_json
from isd_policy.rival import Rival


@pytest.fixture
def config(tmp_path):
    """An evaluation's settings, beside the result of a policy that always fails at 1 NFE and never at 2."""
    runs = {nfe: {"episodes": [{"success": success}] * 20} for nfe, success in (("1", False), ("2", True))}
    content = {"seed": 7, "protocol": {"seed_split": "evaluation"}, "results": runs}
    write_json(tmp_path / "other.json", content)
    return {"until_decided": str(tmp_path / "other.json"), "seed": 7, "seed_split": "evaluation"}


def episodes(*success):
    return [SimpleNamespace(success=each) for each in success]


def test_without_a_rival_nothing_ends_early(config):
    assert Rival.of(config | {"until_decided": None}) is None


def test_the_run_of_the_same_number_of_evaluations_is_the_rival(config):
    rival = Rival.of(config)
    assert [rival.told_apart(nfe)(episodes(*[True] * 7)) for nfe in (1, 2)] == [True, False]
    assert not rival.told_apart(1)(episodes(*[True] * 6))


def test_more_starts_than_the_rival_has_decide_nothing(config):
    assert not Rival.of(config).told_apart(1)(episodes(*[True] * 21))


@pytest.mark.parametrize("key, value", [("seed", 8), ("seed_split", "selection")])
def test_other_starts_are_refused(config, key, value):
    with pytest.raises(InputError, match=f"here {key}={value}. The starts must be"):
        Rival.of(config | {key: value})


def test_a_run_that_is_not_there_is_named(config):
    with pytest.raises(InputError, match="no run with nfe=4; its runs: 1, 2"):
        Rival.of(config).told_apart(4)


def test_another_file_is_refused(config, tmp_path):
    write_json(tmp_path / "other.json", {"hello": 1})
    with pytest.raises(InputError, match=r"is no result of isd_policy\.evaluate"):
        Rival.of(config)
