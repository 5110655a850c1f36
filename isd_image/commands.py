"""The commands of `python -m isd_image`. torch is imported once their words are understood: help comes at once."""

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


@command("image_cache")
def cache(cfg: DictConfig) -> None:
    """Encodes images by an autoencoder into memory-mapped shards.

    Interrupted, the same command goes on; on a finished cache it checks every shard against its hash.
    """
    from isd_image.caching import cache_from

    cache_from(resolved(cfg))


@command("image_reference")
def reference(cfg: DictConfig) -> None:
    """Extracts features of a folder (or tar files) of images and writes their statistics with their provenance.

    Interrupted, the same command goes on.
    """
    from isd_image.metrics.reference import reference_from

    reference_from(resolved(cfg))


@command("image_sample")
def sample(cfg: DictConfig) -> None:
    """Draws samples in few network evaluations (NFE): a grid in one PNG, a folder of PNGs, or an npz of all."""
    from isd_image.sampling import sample_from

    sample_from(resolved(cfg))


@command("image_evaluate")
def evaluate(cfg: DictConfig) -> None:
    """Draws samples at each number of evaluations (NFE), or reads some, and compares them with real images."""
    from isd_image.evaluation import evaluate_from, print_report

    config = resolved(cfg)
    print_report(evaluate_from(config), config["samples"] or config["checkpoint"])
    if config["out"] is not None:
        print(f"Written: {config['out']}")


@command("image_convert")
def convert(cfg: DictConfig) -> None:
    """Converts a released checkpoint into `run_dir`; recipe, data and codec are those of its training."""
    from isd_image.conversion import convert_from

    convert_from(resolved(cfg))
