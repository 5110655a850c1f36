"""The table of objectives in docs/objectives.md, made from the configs: equations, passes of a step, tests.

    python -m scripts.docs.objective_table [--write]

Prints the table; --write puts it into the page. An objective's equations are the header of its file in
configs/objective, its passes are counted in a step on a small network, and its test is the one of `TESTS`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import torch

from isd_core.networks.mlp import MLP
from isd_core.objectives.base import Objective
from isd_core.paths import Path as GaussianPath
from isd_core.support.cli import CONFIGS, compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from scripts.docs.reference import header
from scripts.support import command, pages
from scripts.support.heads import objectives, taught, teachers_place
from scripts.support.passes import count_passes

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "objectives.md"
KIND, NAME = "table", "objectives"
"""The mark of its place: <!-- table objectives -->."""
BATCH = 16
LAST = 9_999  # the step at which curricula have ended

TRUTH = "tests/core/objectives/test_fixed_points.py::test_the_expected_gradient_vanishes_at_the_truth"
ORDER = (
    "tests/core/objectives/test_fixed_points.py::test_finite_steps_leave_a_gradient_of_the_first_order_after_the_weight"
)
GRID = (
    "tests/core/objectives/test_fixed_points.py::"
    "test_consistency_trainings_gradient_at_the_truth_has_the_order_of_its_steps"
)
POLICIES = "tests/policy/objectives/test_baselines.py::"
TESTS = {
    **dict.fromkeys(("flow_matching", "isd", "esd", "direct", "meanflow", "improved_meanflow", "lsd", "tvm"), TRUTH),
    **dict.fromkeys(("psd", "distill", "distill_lagrangian", "facm"), TRUTH),
    **dict.fromkeys(("ctm", "alpha_flow", "soflow"), ORDER),
    **dict.fromkeys(("consistency", "ict", "ect"), GRID),
    "scm": "tests/core/objectives/test_fixed_points.py::test_scm_without_normalisation_is_a_fixed_point",
    "shortcut": "tests/core/objectives/test_fixed_points.py::"
    "test_the_shortcuts_smallest_step_is_of_first_order_and_its_larger_ones_are_exact",
    "drifting": "tests/core/objectives/test_drifting.py::"
    "test_samples_of_the_datas_law_do_not_drift_and_others_drift_to_it",
    "regression": POLICIES,
    "mip": POLICIES,
    "ddpm": POLICIES,
}
"""The test that says what an objective's fixed point is, or the order of its distance from the truth."""


def title_and_equations(name: str) -> tuple[str, list[str]]:
    """The title of an objective and its equations, from the head of its file."""
    head = list(header(_text(name)))
    if len(head) < 2:
        raise InputError(f"configs/objective/{name}.yaml has no title and equations in its first lines.")
    return head[0].strip(), [line.strip() for line in head[1:]]


def made(name: str) -> tuple[GaussianPath, Objective]:
    """The objective on its own path, for a network of two numbers, which is also its teacher."""
    place = teachers_place(name)
    words = ["data=unused", f"objective={name}", *([f"objective.{place}.checkpoint=unused"] if place else [])]
    config = resolved(compose_config("policy_train", words))
    path = build("path", config["path"])
    return path, taught(config["objective"], MLP(2, clock=path.clock, width=8, depth=1))


def passes(name: str) -> str:
    """Graded, ungraded, those of differences, those of differences with a graph; in batches."""
    path, objective = made(name)
    rng = torch.Generator().manual_seed(0)
    net = MLP(2, clock=path.clock, width=8, depth=1)
    found = count_passes(objective, net, torch.randn(BATCH, 2, generator=rng), {}, rng, LAST)
    counted = (found.graded, found.ungraded, found.derivative, found.graded_derivative)
    return " / ".join(f"{number:g}" for number in counted)


def row(name: str) -> str:
    """The table's line about an objective."""
    title, equations = title_and_equations(name)
    shown = "<br>".join(f"`{line}`" for line in equations).replace("|", "\\|")
    file, _, test = TESTS[name].partition("::")
    return f"| `{name}` | {title} | {shown} | {passes(name)} | [{test or Path(file).name}](../{file}) |"


def table() -> str:
    """The whole table, by the members that the objectives are of and then by name."""
    kinds = {name: re.search(r"^type: (\w+)", _text(name), re.MULTILINE) for name in objectives(policies=True)}
    order = sorted(kinds, key=lambda name: (str(kinds[name] and kinds[name][1]), name))  # type: ignore[index]
    head = "| `objective=` | method | equations | passes | test |\n|---|---|---|---|---|\n"
    return head + "\n".join(row(name) for name in order)


def _text(name: str) -> str:
    return (CONFIGS / "objective" / f"{name}.yaml").read_text()


def main(flags: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    if flags.write:
        changed = pages.fill(PAGE, {NAME: table()}, KIND)
        print(f"Written: {PAGE}." if changed else f"{PAGE} has this table already.")
    else:
        print(table())
    return 0


if __name__ == "__main__":
    flags = argparse.ArgumentParser("objective_table", description=(__doc__ or "").split("\n\n")[0])
    flags.add_argument("--write", action="store_true", help="put the table into docs/objectives.md")
    sys.exit(command.run(main, flags))
