"""The latent cache on disk: safetensors shards with one large tensor each, described by JSON, read through memory maps.

<cache>/plan.json            what is encoded and how; written first, and compared when the command runs again
<cache>/shard_00000.safetensors   moments [n, V, M, h, w] and labels [n]; V = 2 with mirrors; M = C, or 2 C (mean, std)
<cache>/cache.json           written last: counts, statistics, hashes, images that could not be read
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.files import parse_json

FORMAT = 1
PLAN, INDEX = "plan.json", "cache.json"
DTYPES = {"float16": torch.float16, "float32": torch.float32, "uint8": torch.uint8}
_NUMPY = {"F16": np.float16, "F32": np.float32, "U8": np.uint8}


def shard_path(root: Path, number: int) -> Path:
    """The file of shard `number`."""
    return root / f"shard_{number:05d}.safetensors"


@dataclass(frozen=True)
class ShardNotes:
    """What a shard says of itself: unreadable images, and sums over its latents for the statistics.

    total and squares: [C] sums over images and pixels, in float64; count: latent pixels a channel; images: rows.
    """

    bad: list[str]
    total: list[float]
    squares: list[float]
    count: int
    images: int


def write_shard(path: Path, moments: Tensor, labels: Tensor, notes: ShardNotes) -> None:
    """Writes a shard whole or not at all."""
    with files.atomic_write(path) as temporary:
        save_file({"moments": moments, "labels": labels}, temporary, {"notes": json.dumps(vars(notes))})


def read_notes(path: Path) -> ShardNotes | None:
    """The notes of a shard, None where the file is absent; `InputError` when it is damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as shard:
            return ShardNotes(**parse_json(shard.metadata()["notes"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}). Delete it and run the cache command again.") from error


def map_shard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Moments and labels of a shard as memory maps: nothing is read until a row is."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ValueError("its header is cut off")
            header = parse_json(file.read(length))
        entry = header["moments"]
        labels = header["labels"]
        if size != 8 + length + max(entry["data_offsets"][1], labels["data_offsets"][1]):
            raise ValueError("it was cut off")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"The cache shard {path} cannot be read: {error}. Run the cache command again.") from error

    def view(entry: dict[str, Any], dtype: Any) -> np.ndarray:
        offset = 8 + length + entry["data_offsets"][0]
        return np.memmap(path, dtype, "r", offset, tuple(entry["shape"]))

    return view(entry, _NUMPY[entry["dtype"]]), view(labels, np.int64)


def check_plan(root: Path, plan: dict[str, Any]) -> None:
    """Writes the plan, or compares it with the one that is there.

    Raises `InputError` that names the field when an earlier run encoded something else or in another way.
    """
    path = root / PLAN
    if not path.exists():
        files.write_json(path, plan)
        return
    old = files.read_json(path)
    for key in sorted(old.keys() | plan.keys()):
        if old.get(key) != plan.get(key):
            raise InputError(
                f"{root} was begun with {key} = {_short(old.get(key))}, this command says {_short(plan.get(key))}. "
                "Finish it with the same values, or choose another out."
            )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."


def statistics(notes: list[ShardNotes]) -> tuple[list[float], list[float]]:
    """The mean and the standard deviation of each latent channel over all shards."""
    count = sum(n.count for n in notes)
    mean = [math.fsum(column) / count for column in zip(*(n.total for n in notes), strict=True)]
    squares = [math.fsum(column) / count for column in zip(*(n.squares for n in notes), strict=True)]
    return mean, [math.sqrt(max(q - m * m, 0.0)) for m, q in zip(mean, squares, strict=True)]
