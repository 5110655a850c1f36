"""A policy's folder as LeRobot has it: the config in JSON and the weights in safetensors.

    pretrained_model/
        config.json  model.safetensors  policy_preprocessor.json  policy_postprocessor.json

`config.json` has LeRobot's fields, and in `resolved` the config that builds the policy here. The weights are those last
trained (`model.`), their average (`averaged.`) and the number of its updates. LeRobot records no hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from isd_core.support.errors import InputError
from isd_core.support.fields import Index, Size, check_parts
from isd_core.support.files import atomic_write, read_json, sha256, write_json
from isd_core.training.checkpoint import Checkpoint, check_finite_tensors, save_tensors
from isd_policy.build import KIND

TYPE = "isd"
"""The policy's type in LeRobot: `--policy.type=isd`."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"
LAST = Path("checkpoints", "last", "pretrained_model")
"""Where `lerobot-train` leaves its last policy."""
UPDATES = "updates"
PREFIXES = {"ema": "averaged.", "model": "model."}
FIELDS = {
    "resolved": dict[str, Any],
    "resolved.seed": Index,
    "origin": dict[str, Any],
    "inputs": dict[str, list[str]],
    "nfe": Size,
    "initial_noise": str,
    "candidates": Size,
    "choose": str,
}
"""What is read of a folder's config."""


@dataclass(frozen=True)
class Pretrained(Checkpoint):
    """A folder of LeRobot's. It is read like a checkpoint."""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The policy's tensors, `ema` or `model`. Raises `InputError` where they are not there or not finite."""
        prefix = PREFIXES[name]
        found = _read(self.path, prefix)
        if not found:
            raise InputError(f"{self.path / WEIGHTS} has no tensors `{prefix}*`: it is not a policy of type {TYPE}.")
        check_finite_tensors(found, self.path / WEIGHTS)
        return {key.removeprefix(prefix): value for key, value in found.items()}


def find(path: str | Path) -> Path | None:
    """The folder that `path` stands for: itself, a file in it, or the last one of a run of `lerobot-train`."""
    path = Path(path)
    folder = path.parent if path.is_file() else path
    for place in (folder, folder / LAST):
        if (place / CONFIG).is_file() and (place / WEIGHTS).is_file():
            return place
    return None


def read(path: str | Path) -> Pretrained:
    """Opens a folder. Raises `InputError` when there is none, and for a policy that is not of this package."""
    folder = find(path)
    if folder is None:
        raise InputError(f"There is no policy of LeRobot's at {path}: expected a folder with {CONFIG} and {WEIGHTS}.")
    fields = read_json(folder / CONFIG)
    if not isinstance(fields, dict) or fields.get("type") != TYPE:
        kind = fields.get("type") if isinstance(fields, dict) else None
        raise InputError(
            f"{folder} is a policy of type {kind} of LeRobot's; only those of type {TYPE} are loaded here."
        )
    check_parts(fields, FIELDS, str(folder / CONFIG))
    digest = sha256(folder / WEIGHTS)
    meta = {
        "kind": KIND,
        "config": fields["resolved"],
        "step": _updates(folder),
        "seed": fields["resolved"]["seed"],
        "sha256": {f"{name}.safetensors": digest for name in PREFIXES},
        **{key: fields["origin"].get(key) for key in ("git", "versions")},
        **{key: fields[key] for key in ("nfe", "initial_noise", "candidates", "choose")},
    }
    return Pretrained(folder, meta)


def write(
    folder: Path,
    fields: Mapping[str, Any],
    model: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
    updates: int,
) -> Path:
    """Writes a folder, whole or not at all. fields: of its config. model, average: a policy's tensors.

    Raises `InputError` when there is something at `folder` already.
    """
    if folder.exists():
        raise InputError(f"{folder} exists. Give another out=, or remove it.")
    groups = {PREFIXES["model"]: model, PREFIXES["ema"]: average}
    tensors = {f"{prefix}{key}": value for prefix, group in groups.items() for key, value in group.items()}
    with atomic_write(folder) as temporary:
        temporary.mkdir(parents=True)
        apart = {key: value.clone() for key, value in tensors.items()}  # a bundle's two policies are one in memory
        save_tensors(apart | {UPDATES: torch.tensor(updates)}, temporary / WEIGHTS)
        write_json(temporary / CONFIG, fields)
        for name, steps in processors(fields).items():
            write_json(temporary / f"{name}.json", {"name": name, "steps": steps})
    return folder


def processors(fields: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What LeRobot does around the policy, by the names of its steps: the policy itself scales, so theirs scales
    nothing.
    """
    features = {**fields["input_features"], **fields["output_features"]}
    scaled = {
        "eps": 1e-8,
        "features": features,
        "norm_map": dict.fromkeys(("STATE", "VISUAL", "ENV", "ACTION", "REWARD", "LANGUAGE"), "IDENTITY"),
    }
    steps: dict[str, dict[str, Any]] = {
        "policy_preprocessor": {
            "rename_observations_processor": {"rename_map": {}},
            "to_batch_processor": {},
            "device_processor": {"device": "cpu", "float_dtype": None},
            "normalizer_processor": scaled,
        },
        "policy_postprocessor": {
            "unnormalizer_processor": {**scaled, "features": fields["output_features"]},
            "device_processor": {"device": "cpu", "float_dtype": None},
        },
    }
    return {
        name: [{"registry_name": step, "config": config} for step, config in chain.items()]
        for name, chain in steps.items()
    }


def _updates(folder: Path) -> int:
    if not (found := _read(folder, UPDATES)):
        raise InputError(f"{folder / WEIGHTS} has no tensor `{UPDATES}`: it is not a policy of type {TYPE}.")
    return int(found[UPDATES])


def _read(folder: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a folder whose names begin so."""
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(
            f"{folder / WEIGHTS} cannot be read as the weights of a policy of type {TYPE}: {error}."
        ) from error
