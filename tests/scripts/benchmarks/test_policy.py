"""The policy benchmark's plan and table; one training through the whole of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from isd_core.support.errors import InputError
from isd_core.support.files import read_json
from scripts.benchmarks import policy as benchmark_policy
from scripts.benchmarks import policy_cells, policy_plan, policy_steps, policy_table
from scripts.benchmarks.policy_cells import Sampling
from scripts.support.heads import objectives

PLANS = sorted(benchmark_policy.PLANS.glob("*.yaml"))


def plan_file(tmp_path: Path, **changes: Any) -> Path:
    content = {
        "tasks": {"lift": {"task": "lift", "data": "lift.hdf5"}, "can": {"task": "can", "demos": {"episodes": 3}}},
        "methods": ["isd", "ddpm"],
        "seeds": [0, 1],
        "train": ["trainer.steps=2"],
        "evaluation": {"last": 1, "episodes": 2, "select": 1, "seed": 7},
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_plan_of_the_repository_can_be_read(path: Path, tmp_path: Path) -> None:
    plan = policy_plan.read(path, tmp_path)
    assert len({cell.name for cell in plan.cells}) == len(plan.cells)


def test_the_plans_of_policies_have_the_same_methods(tmp_path: Path) -> None:
    names = ("policy_cpu", "policy_quick", "policy_full")
    plans = [policy_plan.read(benchmark_policy.PLANS / f"{name}.yaml", tmp_path).cells for name in names]
    methods = [list(dict.fromkeys((cell.method, cell.samplings) for cell in cells)) for cells in plans]
    assert methods[0] == methods[1] == methods[2]


def test_every_objective_can_be_a_method(tmp_path: Path) -> None:
    names = objectives(policies=True)
    plan = policy_plan.read(plan_file(tmp_path, methods=names, tasks={"lift": {"task": "lift", "data": "f"}}), tmp_path)
    assert list(dict.fromkeys(cell.method for cell in plan.cells)) == names


def test_all_methods_of_a_seed_come_before_the_next_seed(tmp_path: Path) -> None:
    plan = policy_plan.read(plan_file(tmp_path), tmp_path / "out")
    assert [cell.seed for cell in plan.cells] == [0] * 4 + [1] * 4
    assert [cell.name for cell in plan.demos] == ["demos_can"]
    assert {cell.data for cell in plan.cells} == {"lift.hdf5", str(tmp_path / "out" / "demos_can.hdf5")}
    assert all("trainer.steps=2" in cell.words for cell in plan.cells)


@pytest.mark.parametrize("only, count", [(["can"], 4), (["isd"], 4), (["can", "isd"], 2), ([], 8)])
def test_a_part_of_a_plan(tmp_path: Path, only: list[str], count: int) -> None:
    assert len(policy_plan.read(plan_file(tmp_path), tmp_path, only).cells) == count


def test_a_method_of_a_plan_can_be_a_change_of_a_known_one(tmp_path: Path) -> None:
    change = {"of": "meanflow", "nfe": [4], "train": ["times=beta_pair"]}
    plan = policy_plan.read(plan_file(tmp_path, methods={"isd": None, "relaxed": change}), tmp_path, ["lift"])
    isd, relaxed = plan.cells[:2]
    assert (isd.method, isd.samplings, isd.words[1]) == ("isd", policy_plan.ONE_AND_TWO, "objective=isd")
    assert (relaxed.method, relaxed.samplings) == ("relaxed", (Sampling(4),))
    assert relaxed.words == ("task=lift", "objective=meanflow", "trainer.steps=2", "times=beta_pair")


def test_a_plan_may_say_where_its_policies_are_evaluated(tmp_path: Path) -> None:
    plain = {"last": 1, "episodes": 2, "select": 1, "seed": 7}
    cell = policy_plan.read(plan_file(tmp_path, evaluation=plain), tmp_path).cells[0]
    assert (cell.device, cell.rows) == ("cpu", 16)
    cell = policy_plan.read(plan_file(tmp_path, evaluation=plain | {"device": "auto", "rows": 112}), tmp_path).cells[0]
    assert (cell.device, cell.rows) == ("auto", 112)


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"methods": ["gail"]}, "the method gail; known: alpha_flow"),
        ({"methods": {"mine": {"of": "gail"}}}, "the method gail; known: alpha_flow"),
        ({"methods": {"isd": {"steps": 3}}}, "the method isd has no field `steps`"),
        ({"budget": 3}, "no field `budget`"),
        ({"tasks": {"lift": {"task": "lift"}}}, "either data, a file, or demos"),
        ({"tasks": {"lift": {"task": "lift", "data": "a", "demos": {}}}}, "either data, a file, or demos"),
        ({"evaluation": {"rollouts": 3}}, "no field `rollouts`"),
        ({"evaluation": {"last": 1}}, "the evaluation lacks the field `episodes`"),
    ],
)
def test_a_plan_that_makes_no_sense(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        policy_plan.read(plan_file(tmp_path, **changes), tmp_path)


def record(method: str, samplings: dict[str, Any], best: int, task: str = "lift", seed: int = 0) -> dict[str, Any]:
    return {
        "settings": {"task": task, "method": method, "seed": seed, "words": ["task=lift"], "episodes": 4, "last": 2}
        | {"select": 2, "seed_of_starts": 7, "device": "cpu"},
        "processor": "A processor",
        "cores": 2,
        "gpu": None,
        "result": {
            "versions": {"torch": "2.15.0", "mujoco": "3.3.7", "robosuite": "1.5.2"},
            "steps": sorted({int(step) for found in samplings.values() for step in found}),
            "data": {"sha256": "0"},
            "best": best,
            "samplings": samplings,
            "latency_ms": dict.fromkeys(samplings, 5.0),
            "train_seconds": 10.0,
            "parameters": 1_200_000,
            "protocol": {
                "max_steps": 400,
                "initial_noise": "gaussian",
                "environment": {"task": "pusht" if task == "pusht" else "lift", "engine": "compiled", "mode": "exact"},
            },
        },
    }


def outcomes(*success: int, score: tuple[float, ...] = ()) -> dict[str, Any]:
    return {"success": "".join(map(str, success))} | ({"score": list(score)} if score else {})


def test_the_mean_is_over_checkpoints_and_the_best_is_the_chosen_one() -> None:
    """The chosen checkpoint is the one of the selection, not the one that is best on the reported starts."""
    samplings = {"1": {"100": outcomes(1, 1, 1, 1), "200": outcomes(1, 0, 0, 1)}}
    (row,) = policy_table.rows({"a": record("isd", samplings, best=200)})
    assert row.mean == pytest.approx(0.75)
    assert row.best == pytest.approx(0.5)
    assert row.low < 0.5 < row.high
    assert row.spread is None


def test_seeds_are_pooled() -> None:
    first = {"1": {"200": outcomes(1, 1, 1, 1)}}
    second = {"1": {"200": outcomes(0, 0, 1, 1)}}
    records = {"a": record("isd", first, 200), "b": record("isd", second, 200, seed=1)}
    (row,) = policy_table.rows(records)
    assert (row.seeds, row.mean, row.best) == (2, pytest.approx(0.75), pytest.approx(0.75))
    assert row.spread == pytest.approx(0.3536, abs=1e-4)


def test_the_overview_has_a_column_for_each_task() -> None:
    lift, can = {"1": {"200": outcomes(1, 1, 1, 1)}}, {"1": {"200": outcomes(0, 1, 0, 1)}}
    records = {"a": record("isd", lift, 200), "b": record("isd", can, 200, task="can")}
    records["c"] = record("mip", {"2": {"200": outcomes(0, 0, 0, 1)}}, 200, task="can")
    text = policy_table.markdown(policy_table.rows(records), records)
    assert "| isd | 1 | 1.00 / 1.00 | 0.50 / 0.50 |" in text
    assert "| mip | 2 | - | 0.25 / 0.25 |" in text


def test_what_a_method_changes_stands_beside_the_command() -> None:
    samplings = {"1": {"200": outcomes(1, 1, 1, 1)}}
    records = {"a": record("isd", samplings, 200), "b": record("isd_long", samplings, 200)}
    records["a"]["settings"]["words"] = ["task=lift", "objective=isd", "trainer.steps=2"]
    records["b"]["settings"]["words"] = ["task=lift", "objective=isd", "trainer.steps=2", "trainer.steps=6"]
    text = policy_table.markdown(policy_table.rows(records), records)
    assert "`isd_policy.train task=lift trainer.steps=2`; isd_long: `objective=isd trainer.steps=6`\n" in text


def test_a_graded_task_is_told_by_its_score() -> None:
    samplings = {"1": {"200": outcomes(0, 0, 0, 1, score=(0.5, 0.7, 0.9, 1.0))}}
    (row,) = policy_table.rows({"a": record("isd", samplings, 200, task="pusht")})
    assert row.mean == row.best == pytest.approx(0.775)
    assert row.low < 0.775 < row.high
    assert "score, last" in policy_table.markdown([row], {"a": record("isd", samplings, 200, task="pusht")})


def test_methods_are_compared_start_by_start() -> None:
    isd = {"1": {"200": outcomes(*[1] * 30)}}
    ddpm = {"100": {"200": outcomes(*[0] * 30)}}
    records = {"a": record("isd", isd, 200), "b": record("ddpm", ddpm, 200)}
    text = policy_table.markdown(policy_table.rows(records), records)
    assert "ddpm 100 (different, p = 1.9e-09; 1.0 times the latency)" in text


def test_scores_are_compared_start_by_start() -> None:
    """A difference that is small beside the spread over starts is found, because it is the same at every start."""
    spread = [0.1 * k for k in range(8)]
    first = {"1": {"200": outcomes(*[0] * 8, score=tuple(score + 0.1 + 0.001 * score for score in spread))}}
    second = {"100": {"200": outcomes(*[0] * 8, score=tuple(spread))}}
    records = {"a": record("isd", first, 200, task="pusht"), "b": record("ddpm", second, 200, task="pusht")}
    text = policy_table.markdown(policy_table.rows(records), records)
    assert "ddpm 100 (different, +0.100 ± 0.000; 1.0 times the latency)" in text


def steps_record(seed: int, *scores: float) -> dict[str, Any]:
    """A training with one checkpoint for each score."""
    steps = [100 * (i + 1) for i in range(len(scores))]
    found = {str(step): outcomes(0, score=(score,)) for step, score in zip(steps, scores, strict=True)}
    return record("isd", {"1": found}, steps[-1], task="pusht", seed=seed)


def test_success_against_steps_is_of_trainings_with_three_checkpoints(tmp_path: Path) -> None:
    records = {"a": steps_record(0, 0.2, 0.5, 0.8), "b": steps_record(1, 0.4, 0.5, 0.6)}
    curves = policy_steps.curves(records)
    assert curves == {"pusht": {("isd", "1"): {100: [0.2, 0.4], 200: [0.5, 0.5], 300: [0.8, 0.6]}}}
    text = policy_steps.markdown(curves)
    assert "| method | NFE | 100 steps | 200 steps | 300 steps |" in text
    assert "| isd | 1 | .300 ± .141 | .500 ± .000 | .700 ± .141 |" in text
    policy_steps.draw(tmp_path / "steps.png", curves)
    assert (tmp_path / "steps.png").stat().st_size > 1000
    assert policy_steps.curves({"a": steps_record(0, 0.2, 0.5)}) == {}


def test_a_training_that_was_stopped_is_not_evaluated(tmp_path: Path, monkeypatch: Any) -> None:
    """SIGTERM ends a training with exit code 0; the cell must not take its last checkpoint for the whole."""
    cell = policy_plan.read(plan_file(tmp_path), tmp_path).cells[0]
    stopped = SimpleNamespace(step=1, config={"trainer": {"steps": 2}})
    monkeypatch.setattr(policy_cells, "run_command", lambda *_: None)
    monkeypatch.setattr(policy_cells.checkpoint, "load", lambda _: stopped)
    with pytest.raises(KeyboardInterrupt):
        policy_cells.measure(cell, tmp_path)


@pytest.mark.sim
@pytest.mark.slow
def test_the_whole_of_it_once_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One method on Push-T's excerpt; the second call trains nothing and says the same."""
    pytest.importorskip("gym_pusht", reason="the pusht extra is not installed")
    excerpt = Path(__file__).parents[2] / "data/pusht/three_episodes.zarr.zip"
    words = ["network=unet1d_small", "network.widths=[8,16]", "trainer.steps=2", "trainer.batch_size=4"]
    words += ["trainer.checkpoint_every=1", "trainer.device=cpu", "horizons.execution=8"]
    path = plan_file(
        tmp_path, tasks={"pusht": {"task": "pusht", "data": str(excerpt)}}, seeds=[0], methods=["mip"], train=words
    )
    arguments = ["--plan", str(path), "--out", str(tmp_path / "out"), "--only", "mip"]
    for _ in range(2):
        assert benchmark_policy.main(arguments) == 0
    first, second = capsys.readouterr().out.split("# Policies")[1:]
    assert "| mip | 2 |" in first
    assert first.split("1 of 1")[0].splitlines()[5:] == second.split("1 of 1")[0].splitlines()[5:]
    table = read_json(tmp_path / "out" / "table.json")
    assert len(table["rows"]) == 1
    assert (tmp_path / "out" / "latency.png").stat().st_size > 1000
