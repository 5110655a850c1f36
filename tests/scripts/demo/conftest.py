"""A small finished demo, as its commands leave it."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from isd_envs.rollouts.statistics import wilson
from scripts.demo.run import Settings
from scripts.demo.stages import Ledger

PERCENTILES = {"p50": 3.1, "p95": 4.2, "p99": 5.3, "max": 6.4}
SECONDS = {
    "demonstrations": 12.0,
    "isd": 200.0,
    "regression": 60.0,
    "evaluation": 45.0,
    "regression_evaluation": 15.0,
    "control_loop": 14.0,
    "film": 4.0,
}


def evaluation(*successes: int, episodes: int = 100) -> dict:
    """A result file of `isd_policy.evaluate` at 1, 2, 4 ... NFE."""
    content: dict = {"success": {}, "results": {}, "seed": 0, "versions": {"torch": "2.15.0"}}
    for power, count in enumerate(successes):
        low, high = wilson(count, episodes)
        rate = {"successes": count, "episodes": episodes, "rate": count / episodes, "low": low, "high": high}
        content["success"][str(2**power)] = rate
        content["results"][str(2**power)] = {"episodes": [{"success": i < count} for i in range(episodes)]}
    content["protocol"] = {
        "max_steps": 400,
        "initial_noise": "gaussian",
        "weights": "ema",
        "horizons": {"observation": 2},
        "batch_size": 16,
        "environment": {"engine": "compiled", "mode": "exact"},
    }
    return content


def loop() -> dict:
    """A result file of `isd_policy.run`."""
    zero = ("episodes", "successes", "resets", "reset_seconds", "skipped_ticks", "clipped_actions", "rejected_chunks")
    return dict.fromkeys(zero, 0) | {
        "rate": 20.0,
        "ticks": 200,
        "simulated_seconds": 10.0,
        "nfe": 1,
        "deadline_misses": 0,
        "latency_ms": PERCENTILES,
        "robot_ms": PERCENTILES,
        "tick_ms": PERCENTILES,
        "late_ms": PERCENTILES,
        "policy_calls_ms": [3.0, 3.1, 6.4],
    }


@pytest.fixture
def finished(tmp_path):
    """The folder of a demo in which everything but the report is done; there are no pictures."""
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(asdict(Settings())))
    (folder / "eval.json").write_text(json.dumps(evaluation(97, 98, 99)))
    (folder / "regression_eval.json").write_text(json.dumps(evaluation(88)))
    (folder / "loop.json").write_text(json.dumps(loop()))
    (folder / "rollout.txt").write_text("OSMesa is not installed.")
    for run, terms in (("policy", {"flow": 0.5, "residual": 0.4}), ("regression", {"regression": 0.3})):
        (folder / run).mkdir()
        lines = [json.dumps({"step": step, "loss": 1 / step, **terms}) for step in (10, 20, 30)]
        (folder / run / "log.jsonl").write_text("\n".join(lines))
    saved = folder / "policy" / "checkpoints" / "step_00000600"
    saved.mkdir(parents=True)
    (saved / "meta.json").write_text(json.dumps({"format": 1, "step": 600, "config": {}, "sha256": {}, "git": "abc"}))
    ledger = Ledger(folder / "stages.json")
    for name, seconds in SECONDS.items():
        ledger.entry(name).update(seconds=seconds, attempts=1, complete=True, title=name.replace("_", " "))
    ledger.save()
    return folder
