"""The delay benchmark's cells, table and figure, and what it refuses."""

import pytest
import yaml

import scripts.benchmarks.delay as benchmark
from isd_core.support.errors import InputError
from scripts.benchmarks.delay import PLANS, Policies, Protocol, comparisons, draw, markdown, read, rows_of
from scripts.benchmarks.delay_cells import CostCell, LoopCell
from scripts.support.cells import cell_file

PROTOCOL = Protocol((0.0, 200.0), episodes=10, seed=0, candidates=8)
ALL = Policies("can", "runs/plain", "runs/told", "runs/ddpm")
ROW = {"rate": 0.5, "low": 0.3, "high": 0.7, "successes": 5, "episodes": 10, "mean_steps": 40.0, "jerk": 0.4,
       "jump": 0.3, "starved": 0.25, "title": "Can", "graded": False, "max_steps": 400, "mean_score": 0.5,
       "outcomes": [True, False] * 5}  # fmt: skip


def content(**changes):
    """What the command draws and prints, of the rows that it would measure."""
    rows = [
        {"task": cell.task, "method": cell.label, "strategy": cell.strategy.name, "delay_ms": cell.delay_ms or 450.0}
        | ROW
        | ({"delay_ms": 0.0} if cell.delay_ms == 0 else {})
        | changes
        for cell in rows_of(ALL, PROTOCOL)
        if isinstance(cell, LoopCell)
    ]
    made = {"processor": "P", "cores": 2}
    return {"episodes": 10, "seed": 0, "machine": made, "cost_ms": {"can": 450.0}, "rows": rows}


def test_figure_and_tables_hold_every_row(tmp_path):
    found = content()
    text = markdown(found)
    assert text.count("| 5 of 10 | 30.0-70.0 | 40 | 0.400 | 0.300 | 25 % |") == len(found["rows"]) == 2 * 8 + 3
    assert "100-step diffusion takes 450 ms" in text
    pytest.importorskip("matplotlib")
    draw(found, tmp_path / "delay.png")
    assert (tmp_path / "delay.png").read_bytes()[:4] == b"\x89PNG"


def test_a_graded_task_shows_its_scores():
    assert "| 1 NFE | sync | 0 ms | .500 |" in markdown(content(graded=True))
    assert "mean score" not in markdown(content())


def test_loops_with_a_prefix_are_compared_with_waiting_without_latency_start_by_start():
    found = content()["rows"]
    for row in found:
        if row["method"] == "1 NFE, told in training" and row["delay_ms"] == 200:
            row["outcomes"] = [True] * 10
    lines = comparisons(found)
    assert len(lines) == 2 * 4  # inpainting in two and five calls, told alone and with candidates
    (better,) = (line for line in lines if line.startswith("1 NFE, told in training, 200 ms"))
    assert "10 against 5 of 10 starts" in better and "p = 0.0625" in better


def test_cells_have_files_of_their_own_and_the_cost_comes_before_the_loops_that_need_it(tmp_path):
    cells = list(rows_of(ALL, PROTOCOL))
    assert len({cell_file(tmp_path, cell) for cell in cells}) == len(cells)
    (cost,) = (number for number, cell in enumerate(cells) if isinstance(cell, CostCell))
    assert all(cell.delay_ms is not None for cell in cells[:cost])
    assert all(cell.delay_ms is None for cell in cells[cost + 1 :])
    assert [cell.nfe for cell in cells if isinstance(cell, LoopCell) and cell.inpainted] == [2, 5, 2, 5]


def test_without_a_policy_that_is_told_its_rows_are_left_out():
    labels = {cell.label for cell in rows_of(Policies("can", "runs/plain"), PROTOCOL)}
    assert not any("told" in label or "DDPM" in label for label in labels)


@pytest.mark.parametrize("name", ["full.yaml", "quick.yaml"])
def test_a_plan_trains_the_three_policies_of_each_task(name, tmp_path):
    demos, trainings, policies, protocol = read(PLANS / name, tmp_path)
    assert len(trainings) == 3 * len(policies) and len(demos) <= len(policies)
    assert {cell.kind for cell in trainings} == {"plain", "told", "diffusion"}
    assert all(any("delay=" in word for word in cell.words) == (cell.kind == "told") for cell in trainings)
    assert 0 in protocol.delays_ms


@pytest.mark.parametrize(
    "change",
    [{"tasks": {"can": {"task": "can"}}}, {"more": 1}, {"tasks": {"can": {"task": "can", "data": "x", "steps": 3}}}],
)
def test_what_is_no_plan_is_refused(change, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load((PLANS / "full.yaml").read_text()) | change))
    with pytest.raises(InputError, match="plan"):
        read(path, tmp_path)


def test_what_is_no_policy_is_an_input_error(tmp_path, capsys):
    assert benchmark.main(["--policy", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_policies_of_one_s_own_need_the_one_that_is_told_nothing(tmp_path, capsys):
    assert benchmark.main(["--told", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "--policy" in capsys.readouterr().err
