"""`python -m isd_image.reference`: statistics of real images, once, for every later evaluation."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_image.metrics.reference import of_folder


@command("image_reference")
def main(cfg: DictConfig) -> None:
    """Extracts features of a folder (or tar files) of images and writes their statistics with their provenance."""
    config = resolved(cfg)
    out = Path(config["out"])
    if out.suffix != ".npz":
        raise InputError(f"out={out}: expected a file that ends in .npz.")
    reference = of_folder(config["images"], config["size"], config["channels"], build("extractor", config["extractor"]))
    reference.save(out)
    print(f"{reference.gaussian.n} images, extractor {reference.extractor['name']}. Written: {out}")


if __name__ == "__main__":
    main()
