"""The training command that both heads share: objective, trainer and loggers from a config."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from isd_core import objectives
from isd_core.network import KNOWN, Trainable
from isd_core.objectives.base import Objective
from isd_core.support.errors import InputError
from isd_core.support.registry import ROLES, build, structured
from isd_core.training.batches import Dataset
from isd_core.training.config import TrainerConfig
from isd_core.training.loggers import JsonlLogger, Logger
from isd_core.training.trainer import Trainer

MEMBERS = (objectives,)
"""Imported so that what a config names is registered."""

# what each of these groups is where nothing was chosen
NEUTRAL = {"guidance": "none", "weighting": "uniform", "discrepancy": "mse"}


def train(
    config: Mapping[str, Any],
    model: Trainable,
    dataset: Dataset,
    kind: str,
    on_checkpoint: Callable[[Trainer], None] | None = None,
    protected: Callable[[], Collection[Path]] = tuple,
    at_end: Callable[[Trainer], None] | None = None,
) -> Trainer:
    """Trains `model` as the resolved `config` says (objective, trainer, logger, seed, run_dir); returns the trainer.

    kind: what the checkpoint is of, "policy" or "image". The same call with the same run_dir resumes.
    on_checkpoint: called after each checkpoint; protected: the checkpoints that stay beside the newest; at_end: called
    when the training has ended or was stopped, while it can still be logged. Under torchrun the first process logs,
    writes and calls these.
    """
    run_dir = Path(config["run_dir"])
    trainer = Trainer(
        model,
        objective_of(config, model.net, kind),
        dataset,
        structured(TrainerConfig, config["trainer"], where="trainer"),
        run_dir=run_dir,
        seed=config["seed"],
        config=config,
        kind=kind,
        on_checkpoint=on_checkpoint,
        protected=protected,
    )
    loggers: list[Logger] = []
    if trainer.world.is_main:
        if trainer.step:
            print(f"{run_dir}: resuming at step {trainer.step} of {trainer.cfg.steps}.")
        chosen = build("logger", config["logger"], run_dir=run_dir, step=trainer.step, config=config)
        if not isinstance(chosen, JsonlLogger):
            loggers.append(JsonlLogger(run_dir, trainer.step))
        loggers.append(chosen)
    try:
        trainer.run(loggers, at_end=at_end)
    finally:
        for logger in loggers:
            logger.close()
    return trainer


def objective_of(config: Mapping[str, Any], net: nn.Module, kind: str) -> Objective:
    """The objective of a resolved config for the network `net`.

    Raises `InputError` for one of another head, for choices that it has no use for, and where the network has no input
    for what it is told.
    """
    check_objective(config, kind)
    check_inputs(config, net)
    objective: Objective = build("objective", config["objective"])
    check_teachers(objective.frozen(), net)
    return objective


def finished(trainer: Trainer) -> Trainer:
    """The trainer of a training that came to its end; `KeyboardInterrupt` for one that was asked to stop, so that a
    program does not go on with half of it. What was trained is saved, and the same call resumes.
    """
    if trainer.step < trainer.cfg.steps:
        raise KeyboardInterrupt(f"the training was stopped at step {trainer.step} of {trainer.cfg.steps}")
    return trainer


def check_objective(config: Mapping[str, Any], kind: str) -> None:
    """Raises `InputError` for an objective of another head than `kind`'s, and for choices that it has no use for."""
    objective = ROLES["objective"].get(config["objective"]["type"])
    if objective.head not in (None, kind):
        raise InputError(
            f"objective={objective.name} is for {objective.head} models alone; this is a training of kind `{kind}`: "
            "choose another objective."
        )
    for group, neutral in NEUTRAL.items():
        if group not in config["objective"] and config[group]["type"] != neutral:
            raise InputError(
                f"{group}={config[group]['type']} would do nothing: the objective {objective.name} has no {group}. "
                "Leave it out, or choose another objective."
            )


def check_inputs(config: Mapping[str, Any], net: nn.Module) -> None:
    """Raises `InputError` when the guidance tells the network what it has no input for."""
    told = build("guidance", config["guidance"]).inputs
    if absent := set(told) - set(getattr(net, "inputs", ())):
        raise InputError(
            f"guidance={config['guidance']['type']} gives the network {', '.join(told)}, but "
            f"{type(net).__name__} has no input for {', '.join(sorted(absent))}: choose a network that has (images: "
            "in_context_xl1; policies: network.guided=true), or guidance=pre."
        )


def check_teachers(teachers: Iterable[nn.Module], net: nn.Module) -> None:
    """Raises `InputError` for a student that is told elements of its data of which its teacher takes no notice."""
    if KNOWN in getattr(net, "inputs", ()) and any(KNOWN not in getattr(teacher, "inputs", ()) for teacher in teachers):
        raise InputError(
            "The student is told the first actions of a chunk (delay=), but its teacher was trained without: its "
            "velocities are those of another distribution. Train the teacher with a delay, or use delay=none."
        )
