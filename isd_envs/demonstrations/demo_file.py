"""Demonstrations on disk: finished episodes as parts while a generation runs, then one HDF5 in robomimic's layout."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isd_core.support import files, seeds
from isd_core.support.errors import InputError
from isd_core.support.files import parse_json
from isd_envs.engines.slot import Demonstration

SETTINGS = "generation"
"""Attribute of `data` that holds the generation's settings as JSON."""
EXPERT_ACTIONS = "actions_expert"
"""Beside `actions`, which were executed with the noise: what the scripted expert meant."""


class Parts:
    """Finished episodes of an unfinished generation, one file each, in `<out>.parts`."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.folder = out.with_name(out.name + ".parts")
        description = self.folder / "settings.json"
        if description.exists() and files.read_json(description) != settings:
            raise InputError(
                f"{self.folder} holds the finished episodes of a generation with other settings. "
                "Remove that folder, or give another out=."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        if not description.exists():
            files.write_json(description, settings)

    def save(self, demonstration: Demonstration) -> None:
        """Keeps one episode. The file is renamed into place, so that a kill leaves it whole or absent."""
        path = self.folder / f"episode_{demonstration.index:06d}.npz"
        temporary = path.with_suffix(".tmp.npz")
        np.savez(
            temporary,
            success=demonstration.success,
            observations=np.concatenate(list(demonstration.observations.values()), axis=1),
            layout=json.dumps({key: values.shape[1] for key, values in demonstration.observations.items()}),
            states=demonstration.states,
            actions=demonstration.actions,
            rewards=demonstration.rewards,
            model_xml=demonstration.model_xml,
            start=json.dumps(demonstration.start),
            **({} if demonstration.intended is None else {"intended": demonstration.intended}),
        )
        os.replace(temporary, path)

    def load(self) -> dict[int, Demonstration]:
        """The kept episodes by index; damaged files are dropped and made again."""
        found = {}
        for path in sorted(self.folder.glob("episode_??????.npz")):
            try:
                found[int(path.stem[-6:])] = _read_part(path)
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):
                path.unlink()
        return found

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder)


def _read_part(path: Path) -> Demonstration:
    with np.load(path, allow_pickle=False) as part:
        layout = parse_json(str(part["layout"]))
        columns = np.split(part["observations"], np.cumsum(list(layout.values()))[:-1], axis=1)
        return Demonstration(
            index=int(path.stem[-6:]),
            success=bool(part["success"]),
            observations=dict(zip(layout, columns, strict=True)),
            states=part["states"],
            actions=part["actions"],
            rewards=part["rewards"],
            model_xml=str(part["model_xml"]),
            start=parse_json(str(part["start"])),
            intended=part.get("intended"),
        )


def write(
    out: Path,
    demonstrations: Sequence[Demonstration],
    env_args: Mapping[str, Any],
    settings: Mapping[str, Any],
    valid_fraction: float,
    seed: int,
) -> None:
    """Writes robomimic's layout, atomically. The validation demonstrations are drawn from `seed`."""
    n = len(demonstrations)
    valid = min(n - 1, round(valid_fraction * n))
    chosen = set(seeds.numpy_rng(seed, "validation split").permutation(n)[:valid].tolist())
    masks = {
        "train": [f"demo_{i}" for i in range(n) if i not in chosen],
        "valid": [f"demo_{i}" for i in range(n) if i in chosen],
    }
    with files.atomic_write(out) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(len(demonstration.actions) for demonstration in demonstrations)
        data.attrs["env_args"] = json.dumps(env_args, indent=4)
        data.attrs[SETTINGS] = json.dumps(settings)
        for i, demonstration in enumerate(demonstrations):
            _write_demonstration(data.create_group(f"demo_{i}"), demonstration)
        for name, members in masks.items():
            if members:
                file.create_dataset(f"mask/{name}", data=np.array(members, dtype="S"))


def _write_demonstration(group: h5py.Group, demonstration: Demonstration) -> None:
    steps = len(demonstration.actions)
    dones = np.zeros(steps, np.int64)
    dones[-1] = 1
    group.attrs["num_samples"] = steps
    if demonstration.model_xml:
        group.attrs["model_file"] = demonstration.model_xml
    group.attrs["start"] = json.dumps(demonstration.start)
    if demonstration.states.size:
        group.create_dataset("states", data=demonstration.states[:-1])
    group.create_dataset("actions", data=demonstration.actions)
    if demonstration.intended is not None:
        group.create_dataset(EXPERT_ACTIONS, data=demonstration.intended)
    group.create_dataset("rewards", data=demonstration.rewards)
    group.create_dataset("dones", data=dones)
    for key, values in demonstration.observations.items():
        if values.dtype == np.uint8:
            shape = (1, *values.shape[1:])
            group.create_dataset(f"obs/{key}", data=values[:-1], chunks=shape, compression="gzip")
            continue
        group.create_dataset(f"obs/{key}", data=values[:-1])
        group.create_dataset(f"next_obs/{key}", data=values[1:])


def settings_of(path: Path) -> dict[str, Any] | None:
    """The generation's settings of a file of `write`; None for another kind of file."""
    try:
        with h5py.File(path, "r") as file:
            settings: dict[str, Any] = parse_json(file["data"].attrs[SETTINGS])
            return settings
    except (OSError, KeyError, ValueError):
        return None
