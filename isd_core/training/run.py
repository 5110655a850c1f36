"""The training command that both heads share: objective, trainer and loggers from a config."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from isd_core.network import Trainable
from isd_core.support.errors import InputError
from isd_core.support.registry import OUR_PACKAGES, instantiate
from isd_core.training.batches import Dataset
from isd_core.training.loggers import JsonlLogger, Logger, WandbLogger
from isd_core.training.trainer import Trainer

# what each of these groups is where nothing was chosen
NEUTRAL = {"guidance": "NoGuidance", "weighting": "Uniform", "discrepancy": "MSE"}


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
    check_objective(config, kind)
    check_inputs(config, model.net)
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
        protected=protected,
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
        if at_end is not None and trainer.world.chief:
            at_end(trainer)
    finally:
        for logger in loggers:
            logger.close()
    return trainer


def check_objective(config: Mapping[str, Any], kind: str) -> None:
    """Raises `InputError` for an objective of another head than `kind`'s, and for choices that it has no use for."""
    target = config["objective"]["_target_"]
    package = target.partition(".")[0]
    if package in OUR_PACKAGES and package not in ("isd_core", f"isd_{kind}"):
        name = target.rpartition(".")[2]
        raise InputError(f"The objective {name} is of {package}: it makes no sense for kind `{kind}`; choose another.")
    for group, neutral in NEUTRAL.items():
        if group not in config["objective"] and config[group]["_target_"].rpartition(".")[2] != neutral:
            raise InputError(
                f"{group}={config[group]['_target_'].rpartition('.')[2]} would do nothing: {target.rpartition('.')[2]} "
                f"has no {group}. Leave it out, or choose another objective."
            )


def check_inputs(config: Mapping[str, Any], net: nn.Module) -> None:
    """Raises `InputError` when the guidance tells the network what it has no input for."""
    told = instantiate(config["guidance"]).inputs
    if absent := set(told) - set(getattr(net, "inputs", ())):
        raise InputError(
            f"guidance={config['guidance']['_target_'].rpartition('.')[2]} gives the network {', '.join(told)}, but "
            f"{type(net).__name__} has no input for {', '.join(sorted(absent))}: choose a network that has (images: "
            "in_context_xl1; policies: network.guided=true), or guidance=pre."
        )
