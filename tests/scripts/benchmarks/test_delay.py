"""The rival of blending is the policy itself where nothing is known, and otherwise follows what is known."""

from types import SimpleNamespace

import numpy as np
import pytest

import scripts.benchmarks.delay as benchmark
from isd_policy.deploy.loop.action_buffer import ActionBuffer
from scripts.benchmarks.delay import PrefixConditioned, figure, markdown
from scripts.benchmarks.latency import inputs_of, policy_of

ROW = {"rate": 0.5, "low": 0.3, "high": 0.7, "successes": 5, "episodes": 10, "mean_steps": 40.0, "jerk": 0.4,
       "starved": 0.25}  # fmt: skip


@pytest.fixture(scope="module")
def policy():
    return policy_of("unet1d_small", "cpu")


def conditioned(policy, nfe, known):
    """The policy in a loop whose next actions are `known`."""
    path = {"type": "linear"}
    made = PrefixConditioned(SimpleNamespace(policy=policy, saved=SimpleNamespace(config={"path": path})), nfe)
    buffer = ActionBuffer(execution=8, blend=0)
    buffer.merge(np.full((15, 7), 0.3), asked=0)
    made.attend(SimpleNamespace(scheduler=SimpleNamespace(buffer=buffer, lead=known)))
    return made


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_without_a_prefix_it_is_the_policy(policy, nfe):
    inputs = inputs_of(policy)
    np.testing.assert_allclose(conditioned(policy, nfe, 0).infer(inputs), policy.infer(inputs, nfe), atol=1e-5)


def test_with_a_prefix_the_rest_of_the_chunk_changes_from_two_calls_on(policy):
    inputs = inputs_of(policy)
    one, two = (np.abs(conditioned(policy, n, 4).infer(inputs) - policy.infer(inputs, n))[:, 4:].max() for n in (1, 2))
    assert one < 1e-5
    assert two > 1e-4


def test_figure_and_tables_hold_every_row(tmp_path):
    strategies = ("sync", "async", "async + blend")
    rows = [{"method": "iSD, 1 NFE", "strategy": s, "delay_ms": d, **ROW} for s in strategies for d in (0.0, 200.0)]
    rows += [{"method": "DDPM, 100 steps, at its cost", "strategy": s, "delay_ms": 450.0, **ROW} for s in strategies]
    content = {
        "task": "lift",
        "episodes": 10,
        "seed": 0,
        "threads": 1,
        "max_steps": 400,
        "machine": {"processor": "P", "cores": 2},
        "cost_ms": {"1": 4.5, "100": 450.0},
        "rows": rows,
    }
    text = markdown(content)
    assert text.count("| 5 of 10 | 30.0-70.0 | 40 | 0.400 | 25 % |") == 9
    assert "100 NFE 450.0 ms" in text
    pytest.importorskip("matplotlib")
    figure(content, tmp_path / "delay.png")
    assert (tmp_path / "delay.png").read_bytes()[:4] == b"\x89PNG"


def test_what_is_no_policy_is_an_input_error(tmp_path, capsys):
    assert benchmark.main(["--policy", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no checkpoint" in capsys.readouterr().err
