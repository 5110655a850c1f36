"""Images from a checkpoint, into files."""

from __future__ import annotations

import json
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isd_core.sampling import check_counts
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, write_json
from isd_core.support.registry import build
from isd_image.build import build_codec, load_generator, open_checkpoint
from isd_image.codecs.base import identity
from isd_image.generate import SamplePlan, check_labels
from isd_image.grid import write_panels
from isd_image.identity import codec_of
from isd_image.metrics.samples import ABOUT
from isd_image.npz import Streamed, write_npz


def sample_from(config: dict[str, Any]) -> None:
    """Draws samples as a resolved config of image_sample says, and prints where they are."""
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
    saved = open_checkpoint(config["checkpoint"])
    learned_null = bool(build("guidance", saved.config["guidance"]).learned_null)
    cycle = tuple(check_labels(config["labels"], saved.config["data"]["classes"], learned_null))
    nfe = check_counts(config["nfe"], build("sampler", saved.config["sampler"]).check_nfe)
    codec = codec_of(saved) or identity(build_codec(saved.config, source))
    return SamplePlan(load, config["seed"], tuple(nfe), config["count"], config["batch_size"], cycle, codec)


def generator_of(config: dict[str, Any], plan: SamplePlan) -> dict[str, Any]:
    """What drew the samples: the checkpoint with a hash of its weights, and the fields that change what they give."""
    saved = open_checkpoint(config["checkpoint"])
    return {
        "checkpoint": str(saved.path),
        "step": saved.step,
        "weights": config["weights"],
        "sha256": saved.meta["sha256"].get(f"{config['weights']}.safetensors"),
        "inputs": config["inputs"],
        "cfg_scale": config["cfg_scale"],
        "codec": dict(plan.codec),
    }


def _about(plan: SamplePlan, config: dict[str, Any]) -> dict[str, Any]:
    """What a file of samples says of itself (see `isd_image.metrics.samples`)."""
    said = {"samples": plan.described(), "seed": plan.seed, "nfe": plan.nfe[0], "cycle": list(plan.cycle)}
    return said | {"generator": generator_of(config, plan)}


def _grid(plan: SamplePlan, out: Path, config: dict[str, Any]) -> None:
    write_panels(plan, out, config["columns"], config["scale"], config["processes"], config["device"])


def _npz(plan: SamplePlan, out: Path, config: dict[str, Any]) -> None:
    """arr_0: [N, H, W, C] bytes; arr_1: [N] classes, as guided-diffusion's evaluation reads them; about: JSON."""
    _one_nfe(plan, out)
    parts = (part for _, _, part in plan.draw(config["processes"], config["device"]))
    first = next(parts)
    images = Streamed((plan.count, *first.shape[1:]), chain([first], parts))
    labels = np.array([plan.label(i) for i in range(plan.count)])
    write_npz(out, {"arr_0": images, "arr_1": labels, "about": json.dumps(_about(plan, config))})


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
        write_json(temporary / ABOUT, _about(plan, config))


def _one_nfe(plan: SamplePlan, out: Path) -> None:
    if len(plan.nfe) != 1:
        raise InputError(
            f"out={out} holds the samples of one number of evaluations: give nfe=[1] or nfe=[2], not more."
        )
