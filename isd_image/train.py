"""`python -m isd_image.train`: trains an image model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isd_core.sampling import Sampler, check_counts
from isd_core.support.cli import command, resolved
from isd_core.support.overrides import command_line
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_core.training.distributed import is_main_process
from isd_core.training.run import train
from isd_core.training.trainer import Trainer
from isd_image.build import KIND, build_model, load_generator
from isd_image.codecs import Codec
from isd_image.generate import SamplePlan, check_labels
from isd_image.grid import write_panels
from isd_image.identity import check_codec, with_content


@command("image_train")
def main(cfg: DictConfig) -> None:
    """Trains a generator of images; the same command with the same run_dir resumes. Several processes by torchrun."""
    config = resolved(cfg)
    sampler: Sampler = build("sampler", config["sampler"])
    grids = None if config["grids"] is None else Grids(config, sampler)
    data = build("source", config["data"]["source"], where="data.source").split("train")
    if grids is not None:
        check_codec(data.codec, grids.codec, f"The data {config['data']['name']}")
    config = with_content(config, data)
    model = build_model(config, data)
    count = sum(p.numel() for p in model.parameters())
    if is_main_process():
        print(f"{config['data']['name']}: {len(data)} images; network of {count / 1e6:.2f}M parameters.")
    trainer = train(config, model, data, KIND, on_checkpoint=grids)
    if trainer.world.is_main:
        print(
            f"Trained to step {trainer.step} in {trainer.seconds:.0f} s. Written: {config['run_dir']}. Next: "
            + command_line("isd_image.sample", checkpoint=config["run_dir"], nfe=sampler.usual_nfe, out="samples.png")
        )


class Grids:
    """After each checkpoint: run_dir/samples/step_*.png, the same noise and classes every time, by the EMA weights.

    The codec is built at once, so that missing weights are found before the training and not after its first part.
    """

    def __init__(self, config: dict[str, Any], sampler: Sampler) -> None:
        fields = config["grids"]
        self.codec: Codec = build("codec", config["codec"])
        self.run_dir, self.columns, self.scale = Path(config["run_dir"]), fields["columns"], fields["scale"]
        self.nfe, self.count = tuple(check_counts(fields["nfe"], sampler.check_nfe)), fields["count"]
        self.seed, self.classes = config["seed"], config["data"]["classes"]
        self.plan(0)

    def plan(self, step: int) -> SamplePlan:
        """The samples of the checkpoint of `step`."""
        folder = checkpoint.folder(self.run_dir, step)
        size = min(self.count, 64)
        cycle = tuple(check_labels(None, self.classes))
        load = partial(load_generator, folder, "ema")
        return SamplePlan(load, self.seed, self.nfe, self.count, size, cycle)

    def __call__(self, trainer: Trainer) -> None:
        out = self.run_dir / "samples" / f"step_{trainer.step:08d}.png"
        if not out.exists():
            write_panels(self.plan(trainer.step), out, self.columns, self.scale, 1, str(trainer.device), quiet=True)


if __name__ == "__main__":
    main()
