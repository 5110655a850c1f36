"""What a step costs in rows of the network: graded (with backward) and ungraded, in units of the batch."""

import pytest
import torch

from isd_core.guidance import PreCFG
from isd_core.support import cli
from isd_core.support.registry import build
from isd_core.velocities import Averaged

BATCH = 8

# objective: (graded, ungraded) rows over the batch, with central differences and without guidance
PASSES = {
    "isd": (2, 2),
    "esd": (4, 2),
    "direct": (1, 2),
    "meanflow": (1, 0.5),  # 3/4 diagonal + 1/4 jump; differences on the quarter
    "improved_meanflow": (1.5, 1),  # the diagonal on all rows, jumps and differences on the half
    "facm": (2, 2),
    "soflow": (1, 0.25),
    "tvm": (4, 1),  # jump, diagonal at its own times, differences in s; the averaged network where the map arrives
    "lsd": (4, 1),
    "psd": (2, 2),
    "shortcut": (1, 0.5),
    "ctm": (2, 1),
    "alpha_flow": (1, 1),  # in its last phase: differences on the half
    "consistency": (1, 1),
    "ict": (1, 1),
    "ect": (1, 1),
    "scm": (1, 2),
    "flow_matching": (1, 0),
    "drifting": (4, 0),  # four samples of each row
    "regression": (1, 0),
    "mip": (2, 0),
    "ddpm": (1, 0),
}


class Counting:
    """A network that counts its rows."""

    def __init__(self) -> None:
        self.weight = torch.ones(1, requires_grad=True)
        self.rows = {True: 0, False: 0}

    def __call__(self, x, t, s, cond):
        self.rows[torch.is_grad_enabled()] += len(x)
        return self.weight * x * (1 + t - s)[:, None]


def rows(name, guidance=None):
    config = cli.compose_config("policy_train", ["data=x", f"objective={name}"])
    objective = build("objective", config["objective"])
    if guidance is not None:
        objective = type(objective)(**{**vars(objective), "guidance": guidance})
    net = Counting()
    for source in objective.sources():
        if isinstance(source, Averaged):
            source.hold(net)
    cond = {"label": torch.zeros(BATCH, dtype=torch.long)}
    rng = torch.Generator().manual_seed(0)
    objective(net, torch.randn(BATCH, 3, generator=rng), cond, rng, 10**6).loss.backward()
    return net.rows[True] / BATCH, net.rows[False] / BATCH


@pytest.mark.parametrize("name", PASSES)
def test_no_objective_makes_a_pass_that_it_does_not_need(name):
    assert rows(name) == PASSES[name]


@pytest.mark.parametrize("name", ["isd", "meanflow", "psd", "flow_matching", "tvm"])
def test_pre_cfg_costs_one_ungraded_pass_more(name):
    graded, ungraded = PASSES[name]
    assert rows(name, PreCFG({"label": 9})) == (graded, ungraded + 1)


def test_every_objective_is_counted():
    known = {path.stem for path in (cli.CONFIGS / "objective").glob("*.yaml")}
    assert known - set(PASSES) == {"distill", "distill_lagrangian"}  # the teacher's passes come on top
