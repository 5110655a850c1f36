"""Training a generator of images: `isd_image.train`, and the command `python -m isd_image.train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.presets import Preset, config_from, given
from isd_core.sampling import Sampler, check_counts
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_core.training import run as training
from isd_core.training.distributed import is_main_process
from isd_core.training.trainer import Trainer
from isd_image.build import KIND, build_model, load_generator, open_checkpoint
from isd_image.codecs import Codec
from isd_image.evaluation import evaluate_from
from isd_image.generate import SamplePlan, check_labels
from isd_image.grid import write_panels
from isd_image.identity import check_codec, with_content
from isd_image.sampling import plan_of


def train(
    data: str | Preset = "digits",
    *,
    objective: str | Preset = "isd",
    guidance: str | Preset | None = None,
    network: str | Preset | None = None,
    steps: int | None = None,
    run_dir: str | Path | None = None,
    seed: int = 0,
    **settings: Any,
) -> Run:
    """Trains a generator of images and returns the run; the same call with the same run_dir resumes.

    data: a name of configs/data, or a preset. objective, guidance, network: names of their groups or presets, such as
    `isd_image.pre(2.0)` (None: the default of configs/image_train.yaml). run_dir: the run's folder (None: runs/<data>).
    settings: further groups and fields: `recipe="isd_cifar10"`, `trainer={"batch_size": 64}`,
    `**{"data.source.root": "cifar"}`. Raises `InputError` for what cannot be used, `DivergedError` when the gradients
    stop being finite.
    """
    fixed = given(guidance=guidance, network=network, run_dir=None if run_dir is None else str(run_dir))
    fixed |= {"data": data, "objective": objective, "seed": seed} | ({} if steps is None else {"trainer.steps": steps})
    config = config_from("image_train", {**settings, **fixed})
    training.finished(train_from(config))
    return Run(Path(config["run_dir"]))


def load(path: str | Path) -> Run:
    """The run of a training: its folder, one of its checkpoints, or a file in one; `InputError` if there is none."""
    open_checkpoint(path)
    return Run(Path(path))


@dataclass(frozen=True)
class Run:
    """A trained generator of images. path: a run's folder (its last checkpoint) or a checkpoint."""

    path: Path

    def sample(
        self, labels: Sequence[int] | int | None = None, nfe: int = 1, count: int | None = None, **settings: Any
    ) -> np.ndarray:
        """Images [count, H, W, C] of bytes by `nfe` network evaluations.

        labels: the classes to draw in turn (None: all); count: how many (None: one of each). settings: further fields
        of configs/image_sample.yaml, such as `seed=1`, `cfg_scale=2.0`.
        """
        wanted = [labels] if isinstance(labels, int) else labels
        fields = {"checkpoint": str(self.path), "nfe": [nfe], "out": "unused.npz", "labels": wanted, **settings}
        if count is None:
            classes = open_checkpoint(self.path).config["data"]["classes"]
            count = len(check_labels(wanted, classes))
        config = config_from("image_sample", fields | {"count": count})
        parts = [images for _, _, images in plan_of(config).draw(config["processes"], config["device"])]
        return np.concatenate(parts)

    def evaluate(self, nfe: int | Sequence[int] = (1, 2), **settings: Any) -> dict[str, Any]:
        """The distances to real images for each number of network evaluations, with their protocol (see
        `python -m isd_image.evaluate`). settings: fields of configs/image_evaluate.yaml.
        """
        counts = [nfe] if isinstance(nfe, int) else list(nfe)
        return evaluate_from(config_from("image_evaluate", {"checkpoint": str(self.path), "nfe": counts, **settings}))


def train_from(config: dict[str, Any]) -> Trainer:
    """Trains as a resolved config of image_train says."""
    training.check_objective(config, KIND)
    sampler: Sampler = build("sampler", config["sampler"])
    grids = None if config["grids"] is None else Grids(config, sampler)
    data = build("source", config["data"]["source"], where="data.source").split("train")
    if grids is not None:
        check_codec(data.codec, grids.codec, f"The data {config['data']['name']}")
    config = with_content(config, data)
    model = build_model(config, data)
    if is_main_process():
        count = sum(p.numel() for p in model.parameters())
        print(f"{config['data']['name']}: {len(data)} images; network of {count / 1e6:.2f}M parameters.")
    return training.train(config, model, data, KIND, on_checkpoint=grids)


def _possible(nfe: Sequence[int], sampler: Sampler) -> tuple[int, ...]:
    """The numbers of evaluations that the sampler can make, with a line about the others; `InputError` for none."""
    possible = [n for n in nfe if sampler.can_make(n)]
    if possible and len(possible) < len(nfe):
        most = sampler.max_nfe
        print(f"grids.nfe={list(nfe)}: the sampler makes at most {most}; the grids show {possible}.", file=sys.stderr)
    return tuple(check_counts(possible or nfe, sampler.check_nfe))


class Grids:
    """After each checkpoint: run_dir/samples/step_*.png, the same noise and classes every time, by the EMA weights.

    The codec is built at once, so that missing weights are found before the training and not after its first part.
    """

    def __init__(self, config: dict[str, Any], sampler: Sampler) -> None:
        fields = config["grids"]
        self.codec: Codec = build("codec", config["codec"])
        self.run_dir, self.columns, self.scale = Path(config["run_dir"]), fields["columns"], fields["scale"]
        self.nfe, self.count = _possible(fields["nfe"], sampler), fields["count"]
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
