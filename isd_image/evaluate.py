"""`python -m isd_image.evaluate`: how far samples are from real images, with the protocol beside every number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from isd_core.support import files
from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_image.build import open_checkpoint
from isd_image.metrics.distances import Gaussian, frechet, inception_score, kernel_distance, precision_recall
from isd_image.metrics.extractors import Extractor, describe, digest
from isd_image.metrics.reference import Reference, extract, load_reference, of_folder, of_split
from isd_image.metrics.samples import read_samples
from isd_image.sample import generator_of, plan_of

NAMED_FID = "inception-v3"
SPLITS = ("train", "held_out")


class Sampled(NamedTuple):
    """One set of samples: features [N, D], logits [N, K] of a classifying extractor, labels [N] if known."""

    features: Tensor
    logits: Tensor | None
    labels: Tensor | None


@command("image_evaluate")
def main(cfg: DictConfig) -> None:
    """Draws samples at each number of evaluations (NFE), or reads some, and compares them with real images."""
    config = resolved(cfg)
    extractor: Extractor = build("extractor", config["extractor"])
    if config["samples"] is None:
        saved = open_checkpoint(config["checkpoint"]).config
        reference = _reference(config, saved, extractor, *_pixels(saved))
        sets, samples = _drawn(config, extractor)
    else:
        _check_reference(config["reference"])
        saved, given = None, read_samples(Path(config["samples"]))
        reference = _reference(config, saved, extractor, *given.images.shape[1:3])
        sets, samples = {"given": Sampled(*extract(extractor, given.images), given.labels)}, given.about
    protocol = {
        "name": f"{_distance(extractor)}, {samples['count']} samples",
        "extractor": describe(extractor),
        "reference": reference.source,
        "samples": samples,
        "fid_code": "isd_image.metrics.distances, unbiased covariances, float64",
    }
    results = {name: _measure(values, reference, extractor) for name, values in sets.items()}
    floor = _floor(config, saved, extractor, reference)
    report = {"nfe": results, "real": floor, "protocol": protocol, "protocol_sha256": digest(protocol)}
    report |= {} if saved is None else {"seed": config["seed"], "generator": generator_of(config)}
    _print(report, config["samples"] or config["checkpoint"])
    if config["out"] is not None:
        files.write_json(config["out"], report | checkpoint.provenance())
        print(f"Written: {config['out']}")


def _pixels(saved: dict[str, Any]) -> tuple[int, int]:
    """Channels and side of the images of a training."""
    return 1 if saved["data"]["channels"] == 1 else 3, saved["data"]["size"] * saved["codec"]["factor"]


def _check_reference(wanted: str) -> None:
    if wanted in SPLITS:
        raise InputError(f"reference={wanted} is a split of a checkpoint's data: give a folder or an npz instead.")


def _reference(
    config: dict[str, Any], saved: dict[str, Any] | None, extractor: Extractor, channels: int, size: int
) -> Reference:
    wanted = str(config["reference"])
    if saved is not None and wanted in SPLITS:
        return of_split(build("source", saved["data"]["source"]).split(wanted), wanted, extractor)
    if wanted.endswith(".npz"):
        return load_reference(Path(wanted), extractor)
    return of_folder(wanted, size, channels, extractor)


def _drawn(config: dict[str, Any], extractor: Extractor) -> tuple[dict[str, Sampled], dict[str, Any]]:
    """The samples of each number of evaluations, drawn now, and how."""
    plan = plan_of(config)
    features: dict[str, list[Tensor]] = {}
    logits: dict[str, list[Tensor]] = {}
    for nfe, _, images in plan.draw(config["processes"], config["device"]):
        feature, logit = extract(extractor, torch.from_numpy(images).permute(0, 3, 1, 2))
        features.setdefault(str(nfe), []).append(feature)
        if logit is not None:
            logits.setdefault(str(nfe), []).append(logit)
    known = open_checkpoint(config["checkpoint"]).config["data"]["classes"]
    labels = torch.tensor([plan.label(i) for i in range(plan.count)]) if known == extractor.classes else None
    sets = {
        n: Sampled(torch.cat(f), torch.cat(logits[n]) if n in logits else None, labels) for n, f in features.items()
    }
    described = {key: value for key, value in plan.described().items() if key != "seed"}
    return sets, described


def _distance(extractor: Extractor) -> str:
    """What a Fréchet distance is called: FID belongs to Inception alone."""
    return "fid" if extractor.name == NAMED_FID else f"frechet[{extractor.name}]"


def _measure(sampled: Sampled, reference: Reference, extractor: Extractor) -> dict[str, float]:
    """Every number that the reference and the extractor allow, under names that say which extractor it was."""
    features, logits, labels = sampled
    name = extractor.name
    if features.shape[1] != len(reference.gaussian.mean):
        raise InputError(
            f"The samples have {features.shape[1]} features, the reference {len(reference.gaussian.mean)}: with "
            f"extractor `{name}` both need images of one size."
        )
    distance = frechet(Gaussian.of(features), reference.gaussian)
    result = {_distance(extractor): distance}
    if reference.features is not None:
        mean, std = kernel_distance(features, reference.features)
        precision, recall = precision_recall(reference.features, features)
        result |= {f"kid[{name}]": mean, f"kid_std[{name}]": std}
        result |= {f"precision[{name}]": precision, f"recall[{name}]": recall}
    if logits is not None and name == NAMED_FID:
        result["inception_score"], result["inception_score_std"] = inception_score(logits)
    elif logits is not None and labels is not None and int(labels.max()) < extractor.classes:
        result["accuracy"] = float((logits.argmax(1) == labels).double().mean())
    return result


def _floor(
    config: dict[str, Any], saved: dict[str, Any] | None, extractor: Extractor, reference: Reference
) -> dict[str, float]:
    """Real images against real images: held-out ones against the training ones, where the data has both."""
    source = None if saved is None else build("source", saved["data"]["source"])
    if source is None or str(config["reference"]) != "train" or source.held_out is None:
        return {}
    held_out = of_split(source.split("held_out"), "held_out", extractor)
    result = {_distance(extractor): frechet(held_out.gaussian, reference.gaussian)}
    return result if held_out.accuracy is None else result | {"accuracy": held_out.accuracy}


def _print(report: dict[str, Any], what: str) -> None:
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


if __name__ == "__main__":
    main()
