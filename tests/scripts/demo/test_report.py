"""The report: every number that it promises, one page with everything inside, and sentences for what is missing."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from isd_core.support.errors import InputError
from scripts.demo import report
from scripts.demo.results import collect

KEYS = {
    "success",
    "demo_seconds",
    "train_seconds",
    "total_seconds",
    "latency_ms",
    "deadline_misses",
    "seed",
    "versions",
}


def change(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def page(folder):
    report.write(folder)
    return (folder / "report.html").read_text()


def test_report_json_holds_the_promised_keys(finished):
    report.write(finished)
    assert json.loads((finished / "report.json").read_text()).keys() >= KEYS


def test_the_success_map_is_that_of_the_evaluation(finished):
    evaluated = json.loads((finished / "eval.json").read_text())["success"]
    assert collect(finished).numbers["success"] == evaluated


def test_total_seconds_sum_all_stages(finished):
    assert collect(finished).numbers["total_seconds"] == 350.0


def test_regression_stands_beside_isd(finished):
    assert collect(finished).numbers["regression"]["success"]["1"]["successes"] == 88


def test_both_methods_are_compared_start_by_start(finished):
    assert "97 against 88 of 100 starts: different" in collect(finished).numbers["comparison"]


def test_a_missing_result_is_named(finished):
    (finished / "loop.json").unlink()
    with pytest.raises(InputError, match=r"loop\.json does not exist"):
        collect(finished)


def test_a_result_of_another_version_is_named(finished):
    change(finished / "loop.json", latency_ms={"p50": 1.0})
    with pytest.raises(InputError, match="p95"):
        collect(finished)


def test_the_page_fetches_nothing(finished):
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)|@import|url\(""", page(finished))


def test_the_page_is_well_formed(finished):
    """All elements are closed, so that every reader shows the same."""
    (finished / "rollout.gif").write_bytes(b"GIF89a")
    ElementTree.fromstring(page(finished).removeprefix("<!doctype html>"))


def test_the_page_follows_light_and_dark(finished):
    assert "prefers-color-scheme: dark" in page(finished)


def test_without_pictures_the_page_says_why(finished):
    assert "There is no picture: OSMesa is not installed." in page(finished)


def test_pictures_lie_inside_the_page(finished):
    (finished / "rollout.gif").write_bytes(b"GIF89a")
    assert "data:image/gif;base64,R0lGODlh" in page(finished)


def test_a_training_log_that_was_cut_off_is_drawn(finished):
    log = finished / "policy" / "log.jsonl"
    log.write_text(log.read_text()[:-10])
    assert "Training losses" in page(finished)


def test_both_terms_of_the_loss_are_drawn(finished):
    assert {"flow matching", "self-distillation"} <= set(re.findall(r">([a-z -]+)</text>", page(finished)))


def test_an_empty_training_log_is_said(finished):
    for run in ("policy", "regression"):
        (finished / run / "log.jsonl").write_text("")
    assert "The training logs hold no losses." in page(finished)


def test_interrupted_stages_are_said(finished):
    stages = json.loads((finished / "stages.json").read_text())
    stages["isd"]["attempts"] = 2
    (finished / "stages.json").write_text(json.dumps(stages))
    assert "Interrupted and continued: isd." in page(finished)


def test_names_are_escaped(finished):
    (finished / "rollout.txt").write_text("<script>")
    assert "<script>" not in page(finished)


def test_the_summary_names_every_nfe(finished):
    text = report.summary(report.write(finished), finished)
    assert re.findall(r"(\d) NFE \d+ of 100", text) == ["1", "2", "4"]


def test_the_summary_tells_what_was_written_and_what_is_next(finished):
    text = report.summary(report.write(finished), finished)
    assert f"{finished}/report.html" in text
    assert f"python -m isd_policy.run checkpoint={finished}/policy" in text


def test_the_markdown_table_has_a_row_for_every_rate(finished):
    rows = [line for line in report.markdown(collect(finished)).splitlines() if re.match(r"\| (iSD|regression) ", line)]
    assert len(rows) == 4


def test_bad_folders_end_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path)])
    assert report.main() == 2
    assert capsys.readouterr().err.startswith("error: ")
