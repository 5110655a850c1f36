"""`python -m isd_image.sample`: images from a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from PIL import Image

from isd_core.sampling import check_counts
from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, write_json
from isd_core.support.registry import build
from isd_image.build import load_generator, open_checkpoint
from isd_image.generate import SamplePlan, check_labels
from isd_image.grid import write_panels


@command("image_sample")
def main(cfg: DictConfig) -> None:
    """Draws samples in few network evaluations (NFE): a grid in one PNG, a folder of PNGs, or an npz of all."""
    config = resolved(cfg)
    out = Path(config["out"])
    plan = plan_of(config)
    draws = {".png": _grid, ".npz": _npz, "": _folder}
    if out.suffix not in draws:
        raise InputError(f"out={out}: expected a .png (a grid), a .npz (ADM's layout) or a folder without a suffix.")
    draws[out.suffix](plan, out, config)
    shown = ", ".join(map(str, plan.nfe))
    print(f"{plan.count} samples each at NFE {shown}, seed {plan.seed}. Written: {out}")


def plan_of(config: dict[str, Any]) -> SamplePlan:
    """The samples that a command's fields ask for; labels are checked against the checkpoint's classes."""
    source, inputs = config["codec_source"], config["inputs"]
    load = partial(load_generator, config["checkpoint"], config["weights"], codec_source=source, inputs=inputs)
    load = partial(load, cfg_scale=config["cfg_scale"])
    trained = open_checkpoint(config["checkpoint"]).config
    cycle = tuple(check_labels(config["labels"], trained["data"]["classes"]))
    nfe = check_counts(config["nfe"], build("sampler", trained["sampler"]).check_nfe)
    return SamplePlan(load, config["seed"], tuple(nfe), config["count"], config["batch_size"], cycle)


def generator_of(config: dict[str, Any]) -> dict[str, Any]:
    """What drew the samples: the checkpoint with a hash of its weights, and the fields that change what they give."""
    saved = open_checkpoint(config["checkpoint"])
    return {
        "checkpoint": str(saved.path),
        "step": saved.step,
        "weights": config["weights"],
        "sha256": saved.meta["sha256"].get(f"{config['weights']}.safetensors"),
        "inputs": config["inputs"],
        "cfg_scale": config["cfg_scale"],
    }


def _grid(plan: SamplePlan, out: Path, config: dict[str, Any]) -> None:
    write_panels(plan, out, config["columns"], config["scale"], config["processes"], config["device"])


def _npz(plan: SamplePlan, out: Path, config: dict[str, Any]) -> None:
    """arr_0: [N, H, W, C] bytes; arr_1: [N] classes, as guided-diffusion's evaluation reads them."""
    _one_nfe(plan, out)
    images = np.concatenate([part for _, _, part in plan.draw(config["processes"], config["device"])])
    labels = np.array([plan.label(i) for i in range(plan.count)])
    with atomic_write(out) as temporary:
        np.savez(temporary, arr_0=images, arr_1=labels)


def _folder(plan: SamplePlan, out: Path, config: dict[str, Any]) -> None:
    """000000.png, 000001.png, ... and samples.json, which says what they are."""
    _one_nfe(plan, out)
    if out.exists():
        raise InputError(f"{out} exists already: choose another out, so that two sets of samples are not mixed.")
    with atomic_write(out) as temporary:
        temporary.mkdir(parents=True)
        for _, first, images in plan.draw(config["processes"], config["device"]):
            for i, image in enumerate(images, start=first):
                flat = image[:, :, 0] if image.shape[2] == 1 else image
                Image.fromarray(flat).save(temporary / f"{i:06d}.png")
        write_json(
            temporary / "samples.json", plan.described() | {"nfe": plan.nfe[0], "generator": generator_of(config)}
        )


def _one_nfe(plan: SamplePlan, out: Path) -> None:
    if len(plan.nfe) != 1:
        raise InputError(
            f"out={out} holds the samples of one number of evaluations: give nfe=[1] or nfe=[2], not more."
        )


if __name__ == "__main__":
    main()
