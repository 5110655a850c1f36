"""The two-dimensional experiment: its cells, its gates, and sentences that follow the numbers."""

import copy
import json
import os
import sys
from dataclasses import replace

import pytest
import torch

from isd_core.support.errors import InputError
from scripts.experiments import toy, toy_cells, toy_report
from scripts.experiments.toy_cells import ToyCell, build, train
from scripts.experiments.toy_report import findings, gates, summary
from scripts.support import command
from scripts.support.passes import count_passes

TINY = ToyCell("isd", "isd", "modes", 0, 16, batch=32, width=16, depth=1)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few samples and measurements."""
    monkeypatch.setattr(toy_cells, "SAMPLES", {"energy": 100, "residual": 64, "steepness": 16})
    monkeypatch.setattr(toy_cells, "POINTS", (0.0, 1.0))
    toy_cells.truth.cache_clear()
    toy_cells._real.cache_clear()
    yield
    toy_cells.truth.cache_clear()
    toy_cells._real.cache_clear()


def every_cell():
    return [replace(c, passes=8, batch=16, width=8, depth=1) for c in toy.cells("full", 8) if c.seed == 0]


# -- cells ------------------------------------------------------------------------------------------------------------


def test_every_objective_but_the_policies_own_is_in_the_table():
    from isd_core.support.cli import CONFIGS

    known = {path.stem for path in (CONFIGS / "objective").glob("*.yaml")}
    assert known - {cell.objective for cell in toy.cells("default", 1)} == {"regression", "mip", "ddpm"}


@pytest.mark.parametrize(
    "cell", [c for c in every_cell() if c.data == "modes" and not c.teacher], ids=lambda c: c.label
)
def test_every_cell_trains(cell, tmp_path):
    result = train(cell, tmp_path)
    assert result["diverged"] is None
    assert result["curve"][-1]["passes"] == pytest.approx(8, abs=result["passes"]["total"])


@pytest.mark.parametrize("objective", ["distill", "distill_lagrangian"])
def test_distillation_takes_the_teachers_cell(objective, tmp_path):
    teacher = replace(TINY, label="flow_matching", objective="flow_matching")
    train(teacher, tmp_path)
    pupil = replace(TINY, label=objective, objective=objective, teacher=teacher.name)
    assert train(pupil, tmp_path)["diverged"] is None


def test_distillation_without_its_teacher_is_refused(tmp_path):
    with pytest.raises(InputError, match="distilled from"):
        train(replace(TINY, objective="distill", teacher="absent"), tmp_path)


def test_a_cell_depends_on_its_seed_alone(tmp_path):
    first, again, other = (train(replace(TINY, seed=seed), tmp_path)["curve"][-1]["residual"] for seed in (0, 0, 1))
    assert first == again != other


def test_samples_too_large_for_their_distances_have_none(tmp_path):
    setup = build(TINY, 1, tmp_path)
    with torch.no_grad():
        list(setup.net.parameters())[-1].copy_(torch.tensor([1e25, -1e25]))  # the bias of F
    result = toy_cells.measure(setup, "modes")
    assert result["far"]["1"] == 1
    assert result["energy"]["1"] is None
    json.dumps(result, allow_nan=False)


def test_a_training_that_leaves_the_numbers_is_recorded_as_diverged(tmp_path):
    result = train(replace(TINY, lr=1e30, passes=80), tmp_path)
    assert result["diverged"] is not None


def test_one_seed_starts_every_objective_from_the_same_weights(tmp_path):
    one, other = (build(replace(TINY, objective=name), 1, tmp_path).net for name in ("isd", "direct"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# -- passes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective, graded, ungraded, derivative, graded_derivative",
    [("isd", 2, 0, 2, 0), ("direct", 1, 0, 2, 0), ("psd", 2, 2, 0, 0), ("lsd", 2, 1, 0, 2), ("esd", 2, 0, 2, 2)],
)
def test_passes_are_counted_by_kind(objective, graded, ungraded, derivative, graded_derivative, tmp_path):
    setup = build(replace(TINY, objective=objective), 1, tmp_path)
    rng = torch.Generator().manual_seed(0)
    found = count_passes(setup.objective, setup.net, torch.randn(8, 2), {}, rng, 0)
    assert (found.graded, found.ungraded) == (graded, ungraded)
    assert (found.derivative, found.graded_derivative) == (derivative, graded_derivative)


# -- gates and sentences ----------------------------------------------------------------------------------------------


def point(residual, energy, far, spread):
    values = {str(nfe): value for nfe in toy_cells.NFE for value in [energy]}
    return {
        "step": 0,
        "passes": 0,
        "residual": residual,
        "residual_end": residual,
        "residual_own": residual,
        "diagonal": residual,
        "steepness": 1.0,
        "energy": values,
        "far": dict.fromkeys(values, far),
        "masses": dict.fromkeys(values, [0.125] * 8),
        "std": dict.fromkeys(values, spread),
        "grad_norm": 1.0,
        "grad_norm_max": 1.0,
    }


def record(label, residual=0.1, energy=0.005, far=0.2, spread=1.06, diverged=None, seed=0):
    cell = ToyCell(label, "isd", "modes", seed, 100)
    curve = [point(1.3, 0.08, 0.8, 1.0), point(residual, energy, far, spread)]
    passes = {"graded": 2, "ungraded": 0, "derivative": 2, "graded_derivative": 0, "total": 4}
    result = {"curve": curve, "steps": 25, "passes": passes, "train_seconds": 1.0, "diverged": diverged}
    return {"settings": {"label": label, "data": "modes", "seed": seed}, "result": result, "name": cell.name}


def records(*made):
    return {each["name"]: each for each in made}


@pytest.fixture
def known_truth(monkeypatch):
    """What the sentences compare with, without integrating the true map."""
    values = {"energy": 0.0, "far": 0.0, "std": 1.06, "steepness": 1.0, "mass_std": 0.006}
    monkeypatch.setattr(toy_report, "truth", lambda data: values)


def said(*made):
    return " ".join(findings(summary(records(*made)), "modes"))


def test_a_good_run_passes_the_gates():
    assert gates(records(record("isd"))) == []


@pytest.mark.parametrize(
    "worse, word", [({"residual": 0.2}, "L_ED"), ({"energy": 0.03}, "energy"), ({"far": 0.3}, "far")]
)
def test_each_gate_is_missed_for_its_own_reason(worse, word):
    missed = gates(records(record("isd", **worse)))
    assert len(missed) == 1
    assert word in missed[0]


def test_a_diverged_run_misses_the_gates():
    assert gates(records(record("isd", diverged=7))) == ["it diverged at step 7"]


def test_the_table_of_a_training_too_short_is_written_and_ends_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["toy", "--quick", "--passes=8", "--workers=1", f"--out={tmp_path}"])
    assert command.run(toy.main, toy.flags()) == 1
    assert "iSD missed: L_ED" in capsys.readouterr().err
    assert {"table.json", "table.md", "curves_modes.png", "samples_modes.png"} <= set(os.listdir(tmp_path))


def test_rows_of_ones_own_are_trained_with_their_overrides(tmp_path, monkeypatch, capsys):
    words = ["--rows", "direct objective.stop_gradient=none", "psd", "--seeds=2", "--passes=4", "--workers=1"]
    monkeypatch.setattr(sys, "argv", ["toy", *words, f"--out={tmp_path}"])
    assert command.run(toy.main, toy.flags()) == 0
    text = (tmp_path / "table.md").read_text()
    assert "| direct objective.stop_gradient=none | 2 |" in text and "| psd | 2 |" in text


@pytest.mark.parametrize("row, message", [("isdd", "known: "), ("distill", "teacher"), ("isd time=x", "time")])
def test_a_row_that_is_no_objective_is_refused(row, message):
    with pytest.raises(InputError, match=message):
        toy.own_cells([row], 1, 4)


def test_the_command_ends_with_0_when_no_gate_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "markdown", lambda *_: "")
    monkeypatch.setattr(toy, "draw", lambda *_: None)
    assert toy.conclude(records(record("isd")), "quick", tmp_path) == 0


@pytest.mark.usefixtures("known_truth")
@pytest.mark.parametrize("residual, verdict", [(0.05, "agrees with the claim"), (0.5, "less than the claim")])
def test_the_text_on_the_fall_follows_the_number(residual, verdict):
    assert verdict in said(record("isd", residual=residual))


@pytest.mark.usefixtures("known_truth")
def test_flat_maps_with_and_without_the_stop_gradient_are_told_apart():
    without = record("direct, no stop-gradient", spread=0.3)
    assert "with it the claim is not borne out" in said(record("direct"), without)
    assert "with and without the stop-gradient, as claimed" in said(record("direct", spread=0.3), without)


@pytest.mark.usefixtures("known_truth")
def test_a_difference_smaller_than_the_margin_is_called_none():
    assert "about the same" in said(record("isd", residual=0.1), record("isd, s = 0", residual=0.11))


@pytest.mark.usefixtures("known_truth")
def test_divergence_with_s_at_zero_is_said():
    assert "`isd` with s = 0 diverged (step 5)" in said(record("isd"), record("isd, s = 0", diverged=5))


@pytest.mark.usefixtures("known_truth")
def test_a_path_that_blows_up_is_said_even_where_its_samples_have_no_distance():
    curved = record("isd, trigonometric", residual=1e12)
    curved["result"]["curve"][-1]["energy"]["8"] = None
    assert "`isd` on the trigonometric path blew up" in said(record("isd"), record("direct"), curved)


@pytest.mark.usefixtures("known_truth")
def test_methods_better_than_isd_are_named():
    text = said(record("isd", residual=0.1), record("direct", residual=0.05))
    assert "L_ED (.100): `direct` .050*" in text


def test_a_row_spreads_over_its_seeds():
    row = summary(records(*(copy.deepcopy(record("isd", residual=0.1 * (1 + s), seed=s)) for s in range(3))))[0]
    assert row["residual"].n == 3
    assert row["residual"].mean == pytest.approx(0.2)
    assert row["residual"].std == pytest.approx(0.1)
