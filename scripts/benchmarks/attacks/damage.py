"""Files that lose a bit or a part: what is read from them is what was written, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.training import checkpoint
from isd_policy.data import read
from isd_policy.data.convert import convert
from scripts.benchmarks.attacks import material
from scripts.benchmarks.attacks.tally import Tally


def files_of(folder: Path) -> list[Path]:
    """All files below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def flipped(path: Path, offset: int, bit: int) -> Iterator[None]:
    """A file with one bit changed, for the length of a block."""
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[offset] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        yield
    finally:
        path.write_bytes(whole)


@contextmanager
def lost(path: Path) -> Iterator[None]:
    """A folder without one of its files, for the length of a block."""
    whole = path.read_bytes()
    path.unlink()
    try:
        yield
    finally:
        path.write_bytes(whole)


def flip_bits(tally: Tally, folder: Path, act: Callable[[], Any], tries: int, seed: int) -> Tally:
    """`tries` changed bits, as many in every file; what `act` gives is the undamaged folder's."""
    expected, files, rng = act(), files_of(folder), np.random.default_rng(seed)
    for number in range(tries):
        path = files[number % len(files)]
        offset, bit = int(rng.integers(path.stat().st_size)), int(rng.integers(8))
        with flipped(path, offset, bit):
            tally.judge(f"{path.relative_to(folder)}, byte {offset}, bit {bit}", act, expected)
    return tally


def lose_files(tally: Tally, folder: Path, act: Callable[[], Any]) -> Tally:
    """Every file once."""
    expected = act()
    for path in files_of(folder):
        with lost(path):
            tally.judge(str(path.relative_to(folder)), act, expected)
    return tally


def flips(out: Path, tries: int, seed: int) -> list[Tally]:
    """`tries` changed bits in a checkpoint, a bundle and an export; their policies act the same or not at all."""
    place = material.write_checkpoint(out / "run", seed)
    bundle = material.write_bundle(out / "policy.isd", checkpoint.load(place))
    export = material.write_onnx(out / "policy.export", bundle)
    names = {"a checkpoint": place, "a bundle": bundle, "an ONNX export": export}
    return [
        flip_bits(Tally(f"a bit of {name}"), folder, partial(material.load_and_act, folder), tries, seed)
        for name, folder in names.items()
    ]


def chunks(out: Path, tries: int, seed: int) -> list[Tally]:
    """Every file of a zarr store lost, and `tries` changed bits; its demonstrations are the same or refused."""
    source = material.write_demonstrations(out / "demos.hdf5", seed, pictures=True)
    convert(source, store := out / "demos.zarr")
    keys = [*material.OBSERVATIONS, "front_image"]
    tallies = []
    for pictures in ("memory", "disk"):

        def act(pictures: str = pictures) -> dict[str, np.ndarray]:
            made = read(store, {"observation_keys": keys, "pictures": pictures})
            rows = np.arange(len(made.actions))[:, None]
            return {"actions": made.actions} | {key: made.observations[key][rows] for key in keys}

        tallies.append(lose_files(Tally(f"a file of a zarr store lost, pictures in {pictures}"), store, act))
        tallies.append(flip_bits(Tally(f"a bit of a zarr store, pictures in {pictures}"), store, act, tries, seed))
    return tallies
