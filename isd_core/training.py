"""The training command that both heads share: objective, trainer and loggers from a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from isd_core.config import OUR_PACKAGES, instantiate
from isd_core.errors import InputError
from isd_core.loggers import JsonlLogger, Logger, WandbLogger
from isd_core.network import Trainable
from isd_core.trainer import Dataset, Trainer


def train(
    config: Mapping[str, Any],
    model: Trainable,
    dataset: Dataset,
    kind: str,
    on_checkpoint: Callable[[Trainer], None] | None = None,
) -> Trainer:
    """Trains `model` as the resolved `config` says (objective, trainer, logger, seed, run_dir); returns the trainer.

    kind: what the checkpoint is of, "policy" or "image". The same call with the same run_dir resumes.
    on_checkpoint: called after each checkpoint. Under torchrun the first process logs and writes.
    """
    run_dir = Path(config["run_dir"])
    check_objective(config["objective"]["_target_"], kind)
    trainer = Trainer(
        model,
        instantiate(config["objective"]),
        dataset,
        instantiate(config["trainer"]),
        run_dir=run_dir,
        seed=config["seed"],
        config=config,
        kind=kind,
        on_checkpoint=on_checkpoint,
    )
    loggers: list[Logger] = []
    if trainer.world.chief:
        if trainer.step:
            print(f"{run_dir}: resuming at step {trainer.step} of {trainer.cfg.steps}.")
        loggers.append(JsonlLogger(run_dir, trainer.step))
        if config["logger"]["wandb"] is not None:
            loggers.append(WandbLogger(run_dir, config, **config["logger"]["wandb"]))
    try:
        trainer.run(loggers)
    finally:
        for logger in loggers:
            logger.close()
    return trainer


def check_objective(target: str, kind: str) -> None:
    """Raises `InputError` for an objective that belongs to another head than `kind`'s."""
    package = target.partition(".")[0]
    if package in OUR_PACKAGES and package not in ("isd_core", f"isd_{kind}"):
        name = target.rpartition(".")[2]
        raise InputError(f"The objective {name} is of {package}: it makes no sense for kind `{kind}`; choose another.")
