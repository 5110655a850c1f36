"""Files of demonstrations made to do something else: read outside themselves, run codecs, take all memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import isd_policy.data
from isd_policy.data.convert import convert
from isd_policy.data.description import describe
from scripts.benchmarks.attacks import material
from scripts.benchmarks.attacks.hostile import HUGE, chosen, programs, tried
from scripts.benchmarks.attacks.tally import Tally

OBJECT = "data/demo_1/obs/object"
KINDS = {
    "bytes": "S8",
    "texts": h5py.string_dtype(),
    "complex": "c16",
    "records": [("a", "f8")],
    "lists": h5py.vlen_dtype(np.float64),
    "references": h5py.ref_dtype,
}
Edit = Callable[[h5py.File], None]


def hdf5_edits(marker: Path, other: Path) -> Iterator[tuple[str, Edit]]:
    """Every hostile change of a robomimic file, with its name."""
    for name, value in programs(marker).items():
        yield f"env_args is {name}", partial(_describe, value)
        yield f"env_kwargs is {name}", partial(_describe, {"env_name": "Lift", "env_kwargs": value})
        yield f"gripper_types is {name}", partial(_set_kwarg, "gripper_types", value)
        yield f"num_samples is {name}", partial(_attribute, "data/demo_1", "num_samples", json.dumps(value))
    yield "env_args of 100,000 lists", partial(_attribute, "data", "env_args", "[" * 50_000)
    yield "env_args of bytes", partial(_attribute, "data", "env_args", np.void(b"\xff\xfe"))
    for size in (HUGE, 2**62, -1, "many"):
        yield f"num_samples = {size}", partial(_attribute, "data/demo_1", "num_samples", size)
    yield "a link to another file", partial(_instead, h5py.ExternalLink(str(other), OBJECT))
    yield "a link to the system's passwords", partial(_instead, h5py.ExternalLink("/etc/passwd", "x"))
    yield "a link to itself", partial(_instead, h5py.SoftLink("/" + OBJECT))
    yield "a link to nothing", partial(_instead, h5py.SoftLink("/nowhere"))
    yield "a group", partial(_made, lambda file: file.create_group(OBJECT))
    yield "numbers in another file", partial(_made, partial(_external, other))
    yield "a view of another file", partial(_made, partial(_view, other))
    yield (
        "a billion rows of nothing",
        partial(_made, partial(_empty, (HUGE, 10))),
    )
    yield "a billion columns", partial(_made, partial(_empty, (40, HUGE)))
    for name, kind in KINDS.items():
        yield f"values that are {name}", partial(_made, partial(_typed, kind))
    for axes in ((), (40,), (40, 10, 1), (40, 10, 1, 1, 1), (0, 10), (39, 10), (40, 0)):
        yield f"values of shape {axes}", partial(_made, partial(_empty, axes))
    for number in (np.nan, np.inf, 1e300):
        yield f"a value of {number}", partial(_number, number)


def _describe(value: Any, file: h5py.File) -> None:
    file["data"].attrs["env_args"] = json.dumps(value)


def _set_kwarg(key: str, value: Any, file: h5py.File) -> None:
    found = json.loads(file["data"].attrs["env_args"])
    found["env_kwargs"][key] = value
    _describe(found, file)


def _attribute(place: str, key: str, value: Any, file: h5py.File) -> None:
    file[place].attrs[key] = value


def _instead(link: Any, file: h5py.File) -> None:
    del file[OBJECT]
    file[OBJECT] = link


def _made(make: Callable[[h5py.File], Any], file: h5py.File) -> None:
    del file[OBJECT]
    make(file)


def _external(other: Path, file: h5py.File) -> None:
    file.create_dataset(OBJECT, (40, 10), "f8", external=[(str(other), 0, 3200)])


def _view(other: Path, file: h5py.File) -> None:
    layout = h5py.VirtualLayout((40, 10), "f8")
    layout[:] = h5py.VirtualSource(str(other), OBJECT, (40, 10))
    file.create_virtual_dataset(OBJECT, layout)


def _empty(axes: tuple[int, ...], file: h5py.File) -> None:
    file.create_dataset(OBJECT, axes, "f4", chunks=True if HUGE in axes else None)


def _typed(kind: Any, file: h5py.File) -> None:
    file.create_dataset(OBJECT, (40, 10), kind)


def _number(number: float, file: h5py.File) -> None:
    file[OBJECT][3, 4] = number


def zarr_edits() -> Iterator[tuple[str, str, Callable[[dict[str, Any]], Any]]]:
    """Every hostile change of a zarr store's metadata: name, file, and what becomes of its content."""
    array = "data/object/zarr.json"
    for codec in ("numcodecs.pickle", "numcodecs.json2", "os.system", "vlen-utf8", 7, {"_target_": "os.system"}):
        extra = {"name": codec, "configuration": {}}
        yield f"a codec {codec}", array, partial(_codec, extra)
    for shape in ([HUGE, 10], [2**62, 2**62], [-1, 10], [], "x", [120]):
        yield f"an array of shape {shape}", array, partial(_field, "shape", shape)
    for kind in ("O", "object", "string", "float1024", None, ["float32"]):
        yield f"an array of {kind}", array, partial(_field, "data_type", kind)
    for name, value in (
        ("a list", []),
        ("null", None),
        ("lists without end", "[" * 50_000),
        ("a version", {"zarr_format": 9}),
    ):
        yield f"metadata that is {name}", array, partial(_whole, value)
        yield f"a store's metadata that is {name}", "zarr.json", partial(_whole, value)


def _codec(codec: Any, about: dict[str, Any]) -> Any:
    return about | {"codecs": [codec, *about["codecs"]]}


def _field(key: str, value: Any, about: dict[str, Any]) -> Any:
    return about | {key: value}


def _whole(value: Any, about: dict[str, Any]) -> Any:
    return value


def read(path: Path) -> Mapping[str, np.ndarray]:
    """What a training sees, after the look that `isd_policy.data.inspect` takes at the file."""
    describe(path)
    found = isd_policy.data.read(path, {"observation_keys": list(material.OBSERVATIONS)})
    return {"actions": found.actions, "state": found.state, "lengths": found.lengths}


def demonstrations(out: Path, tries: int, seed: int) -> list[Tally]:
    """`tries` hostile HDF5 files and every hostile store."""
    marker, source, other = out / "touched", out / "demos.hdf5", out / "other.hdf5"
    material.write_demonstrations(source, seed)
    material.write_demonstrations(other, seed + 1)
    whole, expected = source.read_bytes(), read(source)
    files, stores = Tally("hostile demonstrations, HDF5"), Tally("hostile demonstrations, zarr")
    for name, edit in chosen(hdf5_edits(marker, other), tries, seed):
        source.write_bytes(whole)
        with h5py.File(source, "r+") as file:
            edit(file)
        files.count(name, tried(partial(read, source), marker, expected))
    source.write_bytes(whole)
    convert(source, store := out / "demos.zarr")
    expected = read(store)
    for name, place, change in zarr_edits():
        document = (store / place).read_text()
        changed = change(json.loads(document))
        (store / place).write_text(changed if isinstance(changed, str) else json.dumps(changed))
        stores.count(name, tried(partial(read, store), marker, expected))
        (store / place).write_text(document)
    return [files, stores]
