"""`python -m isd_core.training.reconstruct`: an average of a run's weights of any length, after the training."""

from __future__ import annotations

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved


@command("average_reconstruct")
def main(cfg: DictConfig) -> None:
    """Makes the average of another length out of a run's checkpoints, as a checkpoint of its own."""
    from isd_core.training.post_hoc import reconstruct_from  # torch waits until the words are understood

    reconstruct_from(resolved(cfg))


if __name__ == "__main__":
    main()
