"""Tables and figures of the documentation are those of the published records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from isd_core.support.errors import InputError
from isd_core.support.files import write_json
from scripts.benchmarks import policy, policy_plan, policy_report
from scripts.support import pages
from scripts.support.cells import cell_file, settings

ABOUT = {"processor": "A processor", "cores": 2, "gpu": None, "load": 0.1, "git": None, "versions": {}}


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    content = {
        "tasks": {"lift": {"task": "lift", "data": "lift.hdf5"}, "can": {"task": "can", "data": "can.hdf5"}},
        "methods": {"isd": {"nfe": [1]}},
        "seeds": [0],
        "train": ["trainer.steps=2"],
        "evaluation": {"last": 1, "episodes": 4, "select": 1, "seed": 7},
    }
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "tiny.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return tmp_path / "plans"


def result(success: str) -> dict[str, Any]:
    return {
        "steps": [2],
        "best": 2,
        "samplings": {"1": {"2": {"success": success}}},
        "train_seconds": 10.0,
        "parameters": 1_200_000,
        "protocol": {
            "max_steps": 400,
            "initial_noise": "gaussian",
            "environment": {"task": "lift", "engine": "compiled", "mode": "exact"},
        },
        "versions": {"torch": "2.15.0"},
        "data": {"sha256": "0"},
    }


def keep(plans: Path, folder: Path, *success: str) -> None:
    """Records of the plan's first trainings, with these outcomes."""
    cells = policy_plan.read(plans / "tiny.yaml", Path("runs/benchmark/tiny")).cells
    for cell, outcomes in zip(cells, success, strict=False):
        write_json(cell_file(folder, cell), {"settings": settings(cell), "result": result(outcomes)} | ABOUT)


@pytest.fixture
def docs(tmp_path: Path, plans: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A documentation with one page that asks for the overview of two finished trainings."""
    docs = tmp_path / "docs"
    (docs / "media").mkdir(parents=True)
    page = docs / "page.md"
    page.write_text("before\n\n<!-- results tiny overview -->\nold\n<!-- end -->\n\nafter\n")
    for name, value in {"ROOT": tmp_path, "RESULTS": docs / "results", "MEDIA": docs / "media"}.items():
        monkeypatch.setattr(policy_report, name, value)
    monkeypatch.setattr(policy_report, "PAGES", (page,))
    keep(plans, docs / "results" / "tiny", "1111", "0101")
    return docs


def test_the_pages_of_the_repository_are_those_of_its_records() -> None:
    parts, figures = policy_report.published(policy.PLANS)
    for page in policy_report.PAGES:
        assert pages.filled(page, parts) == page.read_text(), f"{page}: python scripts/benchmark_policy.py --report"
    if figures:
        made_of = pytest.importorskip("scripts.support.figures", reason="matplotlib is not installed").made_of
        assert [figure.digest for figure in figures] == [made_of(figure.path) for figure in figures]


def test_a_report_writes_what_differs_and_says_so_once(docs: Path, plans: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib")
    assert policy_report.update(plans) == 1
    text = (docs / "page.md").read_text()
    assert "| isd | 1 | 1.00 / 1.00 | 0.50 / 0.50 |" in text
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "docs/page.md differed from its records" in capsys.readouterr().err
    assert policy_report.update(plans) == 0


def test_another_outcome_is_noticed(docs: Path, plans: Path) -> None:
    pytest.importorskip("matplotlib")
    policy_report.update(plans)
    keep(plans, docs / "results" / "tiny", "1111", "0111")
    assert policy_report.update(plans) == 1
    assert "0.75 / 0.75" in (docs / "page.md").read_text()


def test_a_page_that_asks_for_what_is_not_there(docs: Path, plans: Path) -> None:
    (docs / "page.md").write_text("<!-- results tiny weather -->\n<!-- end -->\n")
    with pytest.raises(InputError, match="asks for the results `tiny weather`; there are: tiny overview"):
        policy_report.update(plans)


def test_a_record_that_the_plan_does_not_name_is_refused(docs: Path, plans: Path) -> None:
    folder = docs / "results" / "tiny" / "cells"
    (folder / "lift-other-seed0.json").write_text((folder / "lift_isd_seed0.json").read_text())
    with pytest.raises(InputError, match=r"lift-other-seed0\.json is no training of the plan tiny"):
        policy_report.update(plans)


def test_own_records_are_compared_start_by_start(docs: Path, plans: Path, tmp_path: Path, capsys: Any) -> None:
    keep(plans, tmp_path / "own", "1011")
    arguments = ["--plan", str(plans / "tiny.yaml"), "--records", str(tmp_path / "own"), "--compare"]
    assert policy.main(arguments) == 0
    assert "| lift_isd_seed0 | 1 | same | .750 | 1.00 | 3 of 4 |" in capsys.readouterr().out


def test_a_finished_plan_trains_nothing_and_needs_no_data(
    docs: Path, plans: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine goes on with a plan from its records, without checkpoints."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert policy.main(["--plan", str(plans / "tiny.yaml")]) == 0
    assert "2 of 2 trainings" in capsys.readouterr().out
    assert json.loads((tmp_path / "runs/benchmark/tiny/table.json").read_text())["plan"] == "tiny"
