"""Windows of demonstrations per second: our readers beside robomimic's SequenceDataset, on the same file in one run.

    python scripts/benchmark_data.py FILE.hdf5 [--keys KEY ...] [--pictures KEY ...] [--seconds N] [--out FILE.json]

Numbers are gathered in batches of 256 windows in random order. Pictures, where the file has some, are gathered from
memory, from the HDF5 file and from the zarr store that `isd_policy.data.convert` makes of it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from isd_core.support.errors import InputError
from isd_core.support.files import write_json
from isd_core.training.batches import Shuffle
from isd_policy.data import read
from isd_policy.data.convert import convert
from isd_policy.data.description import describe
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons
from scripts.support import command, tables

BATCH = 256
HORIZONS = Horizons()


def windows_per_second(gather: Callable[[Sequence[int]], Any], length: int, seconds: float, batch: int) -> float:
    """How many windows `gather(indices)` gives a second, in random order."""
    order = Shuffle(length, batch, seed=0)
    gather(order(0).tolist())
    began, count, step = time.perf_counter(), 0, 1
    while time.perf_counter() - began < seconds:
        gather(order(step).tolist())
        count, step = count + batch, step + 1
    return count / (time.perf_counter() - began)


def ours(path: Path, keys: Sequence[str], pictures: str, seconds: float, batch: int) -> float:
    """Our windows, with pictures in `memory` or on `disk`."""
    data = ActionChunks(read(path, {"observation_keys": list(keys), "pictures": pictures}), HORIZONS)
    return windows_per_second(lambda rows: data.batch(torch.tensor(rows)), len(data), seconds, batch)


def robomimics(path: Path, numbers: Sequence[str], pictures: Sequence[str], seconds: float, batch: int) -> float | None:
    """robomimic's windows of the same keys, its numbers in memory, collated by torch; None without robomimic."""
    try:
        from robomimic.utils import obs_utils
        from robomimic.utils.dataset import SequenceDataset
    except ImportError:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(numbers), "rgb": list(pictures)}})
        data = SequenceDataset(
            hdf5_path=str(path),
            obs_keys=[*numbers, *pictures],
            dataset_keys=["actions"],
            frame_stack=HORIZONS.observation,
            seq_length=HORIZONS.prediction - HORIZONS.observation + 1,
            hdf5_cache_mode="low_dim" if pictures else "all",
            hdf5_normalize_obs=False,
            load_next_obs=False,
        )
        collate = torch.utils.data.default_collate
        return windows_per_second(lambda rows: collate([data[i] for i in rows]), len(data), seconds, batch)


def run(given: argparse.Namespace) -> int:
    """Measures what the flags ask for, prints the table and writes it; returns the exit code."""
    described = describe(given.data)
    shapes = described.observations
    numbers = given.keys or [key for key, shape in shapes.items() if len(shape) == 1]
    pictures = given.pictures or [key for key, shape in shapes.items() if len(shape) == 3]
    if unknown := [key for key in [*numbers, *pictures] if key not in shapes]:
        raise InputError(f"{given.data} has no observation {unknown[0]}; it has {', '.join(shapes)}.")
    rows: list[tuple[str, str, Any]] = [
        ("numbers, memory", "ours", ours(given.data, numbers, "memory", given.seconds, BATCH)),
        ("numbers, memory", "robomimic", robomimics(given.data, numbers, [], given.seconds, BATCH)),
    ]
    if pictures:
        rows.append(("pictures, memory", "ours", ours(given.data, pictures, "memory", given.seconds, 64)))
        rows.append(("pictures, HDF5", "ours", ours(given.data, pictures, "disk", given.seconds, 64)))
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "demos.zarr"
            convert(given.data, store)
            rows.append(("pictures, zarr", "ours", ours(store, pictures, "disk", given.seconds, 64)))
        rows.append(("pictures, HDF5", "robomimic", robomimics(given.data, [], pictures, given.seconds, 64)))
    about = command.machine()
    found = {f"{what} ({who})": value for what, who, value in rows}
    size = f"{len(described.lengths)} demonstrations, {described.lengths.sum()} steps"
    print(f"{given.data}: {size}. {command.described(about)}.\n")
    body = [[what, who, "-" if value is None else f"{value:,.0f}"] for what, who, value in rows]
    print(tables.markdown(["what", "who", "windows/s"], body))
    if (theirs := found["numbers, memory (robomimic)"]) is not None:
        print(f"\nNumbers: {rows[0][2] / theirs:.0f} times robomimic's SequenceDataset.")
    if pictures:
        zarr, hdf5 = found["pictures, zarr (ours)"], found["pictures, HDF5 (ours)"]
        print(f"Pictures: zarr {zarr / hdf5:.2f} times HDF5.")
    if given.out:
        write_json(given.out, {"data": str(given.data), "machine": about, "windows_per_second": found})
    return 0


def flags() -> argparse.ArgumentParser:
    """The command line."""
    about = (__doc__ or "").split("\n")[0]
    result = argparse.ArgumentParser(prog="python scripts/benchmark_data.py", description=about)
    result.add_argument("data", type=Path, help="a robomimic HDF5 file")
    result.add_argument("--keys", nargs="+", default=[], help="observations of numbers (default: all)")
    result.add_argument("--pictures", nargs="+", default=[], help="observations of pictures (default: all)")
    result.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    result.add_argument("--out", type=Path, help="JSON file to write")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
