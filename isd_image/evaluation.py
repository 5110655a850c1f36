"""How far samples are from real images, with the protocol beside every number."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.fields import check_parts
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_image.build import HEAD, open_checkpoint
from isd_image.codecs.base import pixel_channels
from isd_image.metrics.distances import frechet, inception_score, kernel_distance, precision_recall
from isd_image.metrics.extractors import Extractor, Features, describe, digest
from isd_image.metrics.moments import Moments
from isd_image.metrics.reference import Reference, load_reference, of_images, of_split
from isd_image.metrics.samples import Samples, open_samples
from isd_image.metrics.streaming import Images
from isd_image.sampling import generator_of, plan_of

NAMED_FID = "inception-v3"
SPLITS = ("train", "held_out")


@dataclass
class Sampled:
    """One set of samples as it passes by: moments of its features; the features [N, D] where distances need points;
    logits [N, K] of a classifying extractor; labels [N] if known.
    """

    moments: Moments = field(default_factory=Moments)
    features: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)

    def add(self, found: Features, labels: Tensor | None, keep: bool) -> None:
        """A batch. keep: whether its features stay."""
        self.moments.add(found.features)
        if keep:
            self.features.append(found.features)
        if found.logits is not None:
            self.logits.append(found.logits)
        if labels is not None:
            self.labels.append(labels)


def evaluate_from(config: dict[str, Any]) -> dict[str, Any]:
    """The numbers that a resolved config of image_evaluate asks for, with their protocol; written to `out` if given."""
    extractor: Extractor = build("extractor", config["extractor"])
    if config["samples"] is None:
        opened = open_checkpoint(config["checkpoint"])
        saved = opened.config
        check_parts(saved, {"data.source": dict[str, Any]}, str(opened.path))
        reference = _reference(config, saved, extractor, *_pixels(saved))
        sets, samples, origin = _drawn(config, extractor, reference)
    else:
        _check_reference(config["reference"])
        saved, given = None, open_samples(Path(config["samples"]), config["max_bad"])
        reference = _reference(config, saved, extractor, *given.shape[:2])
        sets, samples, origin = _read(given, extractor, reference)
    protocol = {
        "name": f"{_distance(extractor)}, {samples['count']} samples",
        "extractor": describe(extractor),
        "reference": reference.source,
        "samples": samples,
        "fid_code": "isd_image.metrics.distances, unbiased covariances, float64",
    }
    results = {name: _measure(values, reference, extractor) for name, values in sets.items()}
    floor = _floor(config, saved, extractor, reference)
    report = {"nfe": results, "real": floor, "protocol": protocol, "protocol_sha256": digest(protocol), **origin}
    if config["out"] is not None:
        files.write_json(config["out"], report | checkpoint.provenance(HEAD.packages))
    return report


def _pixels(saved: dict[str, Any]) -> tuple[int, int]:
    """Channels and side of the images of a training."""
    channels, factor = saved["data"]["channels"], saved["codec"]["factor"]
    return pixel_channels(channels, factor), saved["data"]["size"] * factor


def _source(saved: dict[str, Any]) -> Any:
    """The images of a training. A checkpoint may be anybody's, so what it says fetches nothing."""
    config = saved["data"]["source"]
    return build("source", config | ({"download": False} if "download" in config else {}))


def _check_reference(wanted: str) -> None:
    if wanted in SPLITS:
        raise InputError(f"reference={wanted} is a split of a checkpoint's data: give a folder or an npz instead.")


def _reference(
    config: dict[str, Any], saved: dict[str, Any] | None, extractor: Extractor, channels: int, size: int
) -> Reference:
    wanted = str(config["reference"])
    if saved is not None and wanted in SPLITS:
        return of_split(_source(saved).split(wanted), wanted, extractor)
    if wanted.endswith(".npz"):
        return load_reference(Path(wanted), extractor)
    how = {key: config[key] for key in ("max_bad", "follow_links")}
    return of_images(Images(wanted, size, channels, **how), extractor)


Origin = tuple[dict[str, Sampled], dict[str, Any], dict[str, Any]]
"""Sets of samples by name; what of them belongs into the protocol; and what of them does not."""


def _drawn(config: dict[str, Any], extractor: Extractor, reference: Reference) -> Origin:
    """The samples of each number of evaluations, drawn now."""
    plan = plan_of(config)
    judged = open_checkpoint(config["checkpoint"]).config["data"]["classes"] == extractor.classes
    sets: dict[str, Sampled] = {}
    for nfe, first, images in plan.draw(config["processes"], config["device"]):
        labels = torch.tensor([plan.label(i) for i in range(first, first + len(images))]) if judged else None
        batch = extractor(torch.from_numpy(images).permute(0, 3, 1, 2))
        sets.setdefault(str(nfe), Sampled()).add(batch, labels, reference.features is not None)
    return sets, plan.described(), {"seed": plan.seed, "generator": generator_of(config, plan)}


def _read(given: Samples, extractor: Extractor, reference: Reference) -> Origin:
    """Samples from files."""
    sampled = Sampled()
    for images, labels in given.batches():
        sampled.add(extractor(images), labels, reference.features is not None)
    said = {key: given.about[key] for key in ("seed", "generator") if key in given.about}
    return {"given": sampled}, given.protocol(), said | {"given": given.file() | {"unreadable": given.bad}}


def _distance(extractor: Extractor) -> str:
    """What a Fréchet distance is called: FID belongs to Inception alone."""
    return "fid" if extractor.name == NAMED_FID else f"frechet[{extractor.name}]"


def _measure(sampled: Sampled, reference: Reference, extractor: Extractor) -> dict[str, float]:
    """Every number that the reference and the extractor allow, under names that say which extractor it was."""
    name, gaussian = extractor.name, sampled.moments.gaussian()
    if len(gaussian.mean) != len(reference.gaussian.mean):
        raise InputError(
            f"The samples have {len(gaussian.mean)} features, the reference {len(reference.gaussian.mean)}: with "
            f"extractor `{name}` both need images of one size."
        )
    result = {_distance(extractor): frechet(gaussian, reference.gaussian)}
    if reference.features is not None:
        features = torch.cat(sampled.features)
        mean, std = kernel_distance(features, reference.features)
        precision, recall = precision_recall(reference.features, features)
        result |= {f"kid[{name}]": mean, f"kid_std[{name}]": std}
        result |= {f"precision[{name}]": precision, f"recall[{name}]": recall}
    if sampled.logits and name == NAMED_FID:
        result["inception_score"], result["inception_score_std"] = inception_score(torch.cat(sampled.logits))
    elif sampled.logits and sampled.labels and int((labels := torch.cat(sampled.labels)).max()) < extractor.classes:
        result["accuracy"] = float((torch.cat(sampled.logits).argmax(1) == labels).double().mean())
    return result


def _floor(
    config: dict[str, Any], saved: dict[str, Any] | None, extractor: Extractor, reference: Reference
) -> dict[str, float]:
    """Real images against real images: held-out ones against the training ones, where the data has both."""
    source = None if saved is None else _source(saved)
    if source is None or str(config["reference"]) != "train" or source.held_out is None:
        return {}
    held_out = of_split(source.split("held_out"), "held_out", extractor)
    result = {_distance(extractor): frechet(held_out.gaussian, reference.gaussian)}
    return result if held_out.accuracy is None else result | {"accuracy": held_out.accuracy}


def print_report(report: dict[str, Any], what: str) -> None:
    """A report as a table. what: the samples or the checkpoint that was judged."""
    rows = {f"{nfe} NFE" if nfe.isdigit() else nfe: values for nfe, values in report["nfe"].items()}
    if report["real"]:
        rows["real, held out"] = report["real"]
    columns = list(dict.fromkeys(key for values in rows.values() for key in values if "std" not in key))
    table = [["", *columns]]
    table += [[name, *(f"{v[c]:.4g}" if c in v else "" for c in columns)] for name, v in rows.items()]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    print(f"{what}; protocol {report['protocol']['name']} ({report['protocol_sha256']})")
    for row in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
