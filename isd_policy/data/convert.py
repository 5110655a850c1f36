"""`python -m isd_policy.data.convert data=FILE out=STORE.zarr`: demonstrations as a zarr v3 store, or LeRobot's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write
from isd_core.support.progress import Progress
from isd_policy.data import read
from isd_policy.data.demonstrations import Rows
from isd_policy.data.description import Description, describe, read_by
from isd_policy.data.rate import rate_of_environment
from isd_policy.data.uses import next_training
from isd_policy.data.zarr_store import CHUNK_STEPS, FORMAT, create_numbers, create_pictures, seal

BLOCK_STEPS = 64 * CHUNK_STEPS
"""Steps that are written at once: whole chunks of pictures."""
LEROBOT = "lerobot"
FORMATS = ("zarr", LEROBOT)


def convert(path: Path, out: Path, options: Mapping[str, Any] | None = None) -> Description:
    """Writes all observations, actions, masks and the environment's description of `path` to a new store `out`.

    Pictures go through in blocks, so that they are never all in memory. options: those of the group `dataset` by which
    a file is read. Returns what was read. Raises `InputError` when `out` exists or the file cannot be trained on.
    """
    if out.exists():
        raise InputError(f"{out} exists already; remove it, or choose another out=.")
    how = dict(options or {})
    described = describe(path, how)
    if not described.observations or not described.actions:
        absent = "actions" if described.observations else "observations"
        raise InputError(f"{path} has no {absent}, so nothing could be trained on a store of it.")
    try:
        import zarr
    except ImportError as error:
        raise InputError(f"Writing {out} needs the package zarr ({error}): pip install 'isd-flow[zarr]'.") from error
    keys = list(described.observations)
    with atomic_write(out) as temporary, Progress(len(keys) + len(described.actions), "convert", "array") as bar:
        group = zarr.open_group(temporary, mode="w", zarr_format=3)
        group.attrs.update(_attributes(described))
        data, meta = group.create_group("data"), group.create_group("meta")
        ends = np.cumsum(described.lengths)
        create_numbers(meta, "episode_ends", ends.shape, np.int64)[:] = ends
        for action_key in described.actions:
            actions = read(path, how | {"observation_keys": keys[:1], "action_key": action_key}).actions
            create_numbers(data, action_key, actions.shape, np.float32)[:] = actions
            bar.update(1)
        first = next(iter(described.actions))
        asked = {"observation_keys": keys, "action_key": first, "pictures": "disk"}
        for key, rows in read(path, how | asked).observations.items():
            _write(data, key, rows, ends)
            bar.update(1)
        seal(temporary, group)
    return described


def _attributes(described: Description) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "names": list(described.names),
        "masks": {key: list(names) for key, names in described.masks.items()},
        "env_args": described.env_args,
        "rate": described.rate,
        "labels": {key: list(names) for key, names in described.labels.items()},
        "source": described.path.name,
    }


def _write(data: Any, key: str, rows: Rows, ends: np.ndarray) -> None:
    if isinstance(rows, np.ndarray):
        array = create_numbers(data, key, rows.shape, np.float32)
        array[:] = rows
        return
    array, begin = create_pictures(data, key, rows.shape), 0
    for block in _blocks(rows, ends):
        array[begin : begin + len(block)] = block
        begin += len(block)


def _blocks(rows: Rows, ends: np.ndarray) -> Iterator[np.ndarray]:
    """The rows in blocks of `BLOCK_STEPS`, read episode by episode."""
    rest = np.empty((0, *rows.shape[1:]), np.uint8)
    for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        rest = np.concatenate([rest, rows[np.arange(begin, end)[None]][0]])
        while len(rest) >= BLOCK_STEPS:
            yield rest[:BLOCK_STEPS]
            rest = rest[BLOCK_STEPS:]
    if len(rest):
        yield rest


def to_lerobot(path: Path, out: Path, options: Mapping[str, Any], how: Mapping[str, Any]) -> Description:
    """Writes a LeRobot data set v3.0. how: task, robot_type, pictures and codec of `isd_policy.data.lerobot.writer`."""
    from isd_policy.data.lerobot.writer import write

    described = describe(path, options)
    if how["task"] is None:
        raise InputError("lerobot.task: LeRobot's sets say in words what is done: give lerobot.task='Lift the cube.'")
    found = read(path, {**options, "pictures": "disk"})
    rate = found.rate if found.rate is not None else rate_of_environment(found.env_args)
    write(out, replace(found, rate=rate), **how)
    return described


@command("data_convert", positional="data")
def main(cfg: DictConfig) -> None:
    """Converts demonstrations to a zarr v3 store, chunked for windows of pictures, or to a LeRobot data set v3.0."""
    config = resolved(cfg)
    path, out, options = Path(str(cfg.data)), Path(str(cfg.out)), read_by(config)
    if cfg.format not in FORMATS:
        raise InputError(f"format={cfg.format}: expected {' or '.join(FORMATS)}.")
    described = (
        to_lerobot(path, out, options, config["lerobot"]) if cfg.format == LEROBOT else convert(path, out, options)
    )
    print(
        f"{len(described.lengths)} demonstrations, {described.lengths.sum()} steps of {described.kind}. Written: "
        f"{cfg.out}. Next: {next_training(described, cfg.out)}"
    )


if __name__ == "__main__":
    main()
