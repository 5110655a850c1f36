"""`python -m isd_image.reference`: statistics of real images, once, for every later evaluation."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_image.metrics.extractors import Extractor
from isd_image.metrics.reference import Reference
from isd_image.metrics.streaming import Images, measure, pictures


@command("image_reference")
def main(cfg: DictConfig) -> None:
    """Extracts features of a folder (or tar files) of images and writes their statistics with their provenance.

    Interrupted, the same command goes on.
    """
    config = resolved(cfg)
    out = Path(config["out"])
    if out.suffix != ".npz":
        raise InputError(f"out={out}: expected a file that ends in .npz.")
    wanted = Images(**{key: config[key] for key in ("images", "size", "channels", "max_bad", "follow_links")})
    extractor: Extractor = build("extractor", config["extractor"])
    unfinished = out.with_suffix(".unfinished.npz")
    how = {key: config[key] for key in ("processes", "device")}
    raw, sums = measure(wanted, extractor, config["extractor"], unfinished=unfinished, **how)
    reference = Reference.of(sums, wanted.described(raw, len(sums.bad)), extractor)
    reference.save(out, pictures(raw, sums, wanted) if config["keep_images"] else None)
    unfinished.unlink(missing_ok=True)
    unread = f", {len(sums.bad)} could not be read" if sums.bad else ""
    print(f"{reference.gaussian.n} images{unread}, extractor {reference.extractor['name']}. Written: {out}")


if __name__ == "__main__":
    main()
