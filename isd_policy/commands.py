"""The commands `python -m isd_policy.train`, `isd_policy.evaluate` and `isd_policy.run`.

torch and the simulator are imported once a command's words are understood: help and refusals come at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

import isd_envs  # noqa: F401  (its registered tasks are choices of the command line)
from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.overrides import command_line
from isd_core.support.registry import announced

if announced():  # what distributions announce is a choice of the command line; its roles bring torch along
    import isd_policy.roles  # noqa: F401


@command("policy_train")
def train(cfg: DictConfig) -> None:
    """Trains a policy on demonstrations; the same command with the same run_dir resumes."""
    from isd_policy.policy import Policy
    from isd_policy.training import best_of, next_command, train_from

    config = resolved(cfg)
    _import_named(config["task"])
    trainer = train_from(config)
    if trainer.world.is_main:
        assert isinstance(trainer.model, Policy)
        print(
            f"Trained to step {trainer.step} in {trainer.seconds:.0f} s. Written: {config['run_dir']}. Next: "
            f"{next_command(config, trainer.model.usual_nfe, best_of(trainer))}"
        )


@command("policy_evaluate")
def evaluate(cfg: DictConfig) -> None:
    """Success rates of a policy on starts that training never saw, for each number of network evaluations (NFE)."""
    from isd_policy.evaluation import evaluate_from

    config = resolved(cfg)
    _import_named(config.get("task") or {})
    if config["video"] and config["out"] is None:
        raise InputError("video= needs out=FILE.json: the films are written beside it.")
    result = evaluate_from(config)
    print(result)
    if config["out"] is not None:
        result.save(config["out"], config["video"])
        print(
            f"Written: {config['out']}. Next: "
            + command_line("isd_policy.run", checkpoint=config["checkpoint"], rate=20, seconds=10)
        )
    if not result.complete:
        raise KeyboardInterrupt


@command("policy_run")
def run(cfg: DictConfig) -> None:
    """Drives the simulated robot by a policy at a fixed rate; reports latencies, misses and what happened.

    With inference_delay_ms it runs in simulated time instead and compares ways to cope with latency.
    """
    from isd_policy.driving import run_from

    run_from(resolved(cfg))


def _import_named(task: Mapping[str, Any]) -> None:
    """Imports the package of a task that stands on the command line; one out of a checkpoint or a bundle never is."""
    from isd_envs.engines.gym.making import import_package

    if package := task.get("package"):
        import_package(package)
