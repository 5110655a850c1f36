"""The command `python -m isd_image.train`. torch is imported once its words are understood: help comes at once."""

from __future__ import annotations

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.overrides import command_line
from isd_core.support.registry import announced

if announced():  # what distributions announce is a choice of the command line; its roles bring torch along
    import isd_image.roles  # noqa: F401


@command("image_train")
def train(cfg: DictConfig) -> None:
    """Trains a generator of images; the same command with the same run_dir resumes. Several processes by torchrun."""
    from isd_core.support.registry import build
    from isd_image.training import train_from

    config = resolved(cfg)
    trainer = train_from(config)
    if trainer.world.is_main:
        usual = build("sampler", config["sampler"]).usual_nfe
        print(
            f"Trained to step {trainer.step} in {trainer.seconds:.0f} s. Written: {config['run_dir']}. Next: "
            + command_line("isd_image.sample", checkpoint=config["run_dir"], nfe=usual, out="samples.png")
        )
