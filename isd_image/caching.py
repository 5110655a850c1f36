"""Raw images encoded once, for every later training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.registry import build
from isd_image.data import crop
from isd_image.data.decode import READING, check_bad, check_share
from isd_image.data.entries import Entries
from isd_image.data.raw import open_images
from isd_image.data.shards import FORMAT, INDEX, ShardNotes, check_plan, shard_path, statistics
from isd_image.encode import EncodeConfig, encode_all


def cache_from(fields: dict[str, Any]) -> None:
    """Encodes images as a resolved config of image_cache says, and prints what was written."""
    processes, device, max_bad, classes = (fields.pop(key) for key in ("processes", "device", "max_bad", "classes"))
    check_share(max_bad)
    config = EncodeConfig(**{**fields, "out": Path(fields["out"])})
    raw = open_images(config.images, classes, config.follow_links)
    raw.tell_skipped()
    plan = _plan(config, raw)
    check_plan(config.out, plan)
    notes = encode_all(config, len(raw), processes, device)
    bad = [name for n in notes.values() for name in n.bad]
    check_bad(bad, len(raw), max_bad)
    _finish(config.out, plan, notes, bad, raw)
    size = sum(shard_path(config.out, number).stat().st_size for number in notes)
    print(
        f"{len(raw) - len(bad)} images in {len(notes)} shards, {size / 1e9:.2f} GB; {len(bad)} could not be read"
        f"{f' (listed in {INDEX})' if bad else ''}. Written: {config.out}"
    )


def _plan(config: EncodeConfig, raw: Entries) -> dict[str, Any]:
    codec = build("codec", config.codec)
    return {
        "format": FORMAT,
        "source": {"images": raw.source, "count": len(raw), "sha256": raw.digest()},
        "classes": raw.classes,
        "class_names": raw.names,
        "codec": {"name": codec.name, "channels": codec.channels, "factor": codec.factor, "weights": codec.weights},
        "crop": crop.NAME,
        "reading": READING,
        "size": config.size,
        "mirror": config.mirror,
        "dtype": config.dtype,
        "precision": config.precision,
        "shard_size": config.shard_size,
    }


def _finish(out: Path, plan: dict[str, Any], notes: dict[int, ShardNotes], bad: list[str], raw: Entries) -> None:
    full = [n for n in notes.values() if n.images]
    if not full:
        raise InputError(f"{plan['source']['images']}: not one image could be read.")
    mean, std = statistics(full)
    shards = [
        {"number": number, "images": n.images, "sha256": files.sha256(shard_path(out, number))}
        for number, n in notes.items()
        if n.images
    ]
    index = plan | {
        "images": sum(n.images for n in full),
        "unreadable": bad,
        "left_out": dict(raw.skipped),
        "mean": mean,
        "std": std,
        "shards": shards,
    }
    if (out / INDEX).exists():
        _check_unchanged(out, files.read_json(out / INDEX)["shards"], shards)
    files.write_json(out / INDEX, index)


def _check_unchanged(out: Path, before: list[dict[str, Any]], now: list[dict[str, Any]]) -> None:
    """`InputError` for shards of a finished cache that are no longer what was written."""
    known = {shard["number"]: shard["sha256"] for shard in before}
    for shard in now:
        number = shard["number"]
        if known.get(number, shard["sha256"]) != shard["sha256"]:
            raise InputError(
                f"{shard_path(out, number)} is damaged: its SHA-256 is not the one in {INDEX}. Delete the shard and "
                f"{INDEX}, and run the cache command again."
            )
