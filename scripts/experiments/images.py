"""The image experiments' cells: one training by the package, measured at its checkpoints."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isd_core.support.cli import compose_config, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_core.training.run import train
from isd_core.training.trainer import DivergedError
from isd_image.build import KIND, build_model, load_generator
from isd_image.generate import to_bytes
from isd_image.metrics.distances import frechet
from isd_image.metrics.extractors import Extractor
from isd_image.metrics.moments import Moments
from isd_image.metrics.reference import Reference, of_split
from scripts.experiments import metrics

BATCH = 100


@dataclass(frozen=True)
class ImageCell:
    """One training with one seed. words: overrides of `isd_image.train`; points: measurements over the training.

    extractor: a config of the group, with its overrides after it: "cifar_resnet extractor.source=FILE".
    """

    label: str
    seed: int
    words: tuple[str, ...]
    extractor: str = "digits"
    nfe: tuple[int, ...] = (1, 2)
    count: int = 1000
    points: int = 4

    @property
    def name(self) -> str:
        """The stem of its file, the name of its run."""
        return re.sub(r"[^\w-]+", "_", f"{self.label}-seed{self.seed}")


def run_dir(out: Path, cell: ImageCell) -> Path:
    """Where the cell's run lies."""
    return out / "runs" / cell.name


def compose(cell: ImageCell, out: Path) -> dict[str, Any]:
    """The training's resolved config, with as many checkpoints as the cell has points."""
    words = [*cell.words, f"seed={cell.seed}", f"run_dir={run_dir(out, cell)}"]
    steps = compose_config("image_train", words).trainer.steps
    every = max(1, steps // cell.points)
    words += [f"trainer.checkpoint_every={every}", f"trainer.keep_checkpoints={cell.points + 1}"]
    return resolved(compose_config("image_train", words))


def train_and_measure(cell: ImageCell, out: Path) -> dict[str, Any]:
    """Trains (or goes on training) the cell's run; returns its curve of measures at the checkpoints, by the averages.

    A run whose gradients stop being finite ends there, with "diverged" the step.
    """
    config = compose(cell, out)
    data = build("source", config["data"]["source"]).split("train")
    model, diverged = build_model(config, data), None
    try:
        trainer = train(config, model, data, KIND)
        if trainer.step < trainer.cfg.steps:
            raise KeyboardInterrupt  # the trainer was told to stop; it has saved its state
    except DivergedError as error:
        found = re.search(r"step (\d+)", str(error))
        diverged = int(found[1]) if found else -1
    meter = Meter(config, cell.extractor, cell.count)
    curve = [
        {"step": checkpoint.load(place).step, "nfe": {str(nfe): meter(place, nfe) for nfe in cell.nfe}}
        for place in checkpoint.steps(run_dir(out, cell))
    ]
    return {"curve": curve, "diverged": diverged, "floor": meter.floor()}


class Meter:
    """The Fréchet distance of samples to the training images, and their class accuracy where the extractor tells."""

    def __init__(self, config: Mapping[str, Any], extractor: str, count: int) -> None:
        words = f"extractor={extractor}".split()
        self.extractor: Extractor = build("extractor", resolved(compose_config("image_evaluate", words))["extractor"])
        self.source = build("source", config["data"]["source"])
        self.count, self.config = count, config
        self.reference: Reference = of_split(self.source.split("train"), "train", self.extractor)

    def floor(self) -> float | None:
        """The distance of the held-out images to the training images, where the data has such a split."""
        if self.source.held_out is None:
            return None
        held_out = of_split(self.source.split("held_out"), "held_out", self.extractor)
        return frechet(held_out.gaussian, self.reference.gaussian)

    def __call__(self, place: Path, nfe: int, cfg_scale: float = 1.0) -> dict[str, float | None]:
        """{"frechet", "accuracy"} of a checkpoint at `nfe` evaluations; cfg_scale: of the guidance at sampling."""
        generator = load_generator(place, "ema", "auto", cfg_scale=cfg_scale)
        classes = max(1, self.config["data"]["classes"])
        labels = torch.arange(self.count) % classes
        moments, hits = Moments(), 0
        for chunk in torch.arange(self.count).split(BATCH):
            images = generator(0, chunk.tolist(), labels[chunk].tolist(), nfe)
            if not bool(torch.isfinite(images).all()):
                return {"frechet": None, "accuracy": None}
            found = self.extractor(torch.from_numpy(to_bytes(images)).permute(0, 3, 1, 2))
            moments.add(found.features)
            hits += 0 if found.logits is None else int((found.logits.argmax(1) == labels[chunk]).sum())
        distance = metrics.finite(frechet(moments.gaussian(), self.reference.gaussian))
        result: dict[str, float | None] = {"frechet": distance, "accuracy": None}
        if found.logits is not None and self.extractor.classes == classes:
            result["accuracy"] = hits / self.count
        return result


def check_words(words: list[str]) -> tuple[str, ...]:
    """Overrides from a command line; `InputError` for those that the experiment sets itself."""
    taken = ("seed", "run_dir", "times", "guidance.omega")
    for word in words:
        if word.partition("=")[0] in taken:
            raise InputError(f"{word}: the experiment sets {', '.join(taken)} itself; leave it out.")
    with contextlib.redirect_stdout(io.StringIO()):
        compose_config("image_train", [*words, "run_dir=unused"])
    return tuple(words)
