"""Checkpoints: a folder of safetensors files and one JSON file, whole or absent, without pickle.

    run_dir/checkpoints/step_00001000/
        model.safetensors  ema.safetensors  optimizer.safetensors  meta.json

`meta.json` holds the resolved config, versions, git revision, the SHA-256 of every file beside it and one of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, read_json, sha256, write_json

FORMAT = 1
META_HASH = "meta_sha256"
FOLDER = "checkpoints"
META = "meta.json"
STEP = re.compile(r"step_(\d{8})")


class NewerFormatError(InputError):
    """A checkpoint that a later version wrote: nothing is wrong with it."""


@dataclass(frozen=True)
class Checkpoint:
    """One saved step: its folder and what its JSON says. Tensors are read on demand."""

    path: Path
    meta: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config of the run that wrote it."""
        return self.meta["config"]

    @property
    def step(self) -> int:
        return self.meta["step"]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of `<name>.safetensors`.

        Raises `InputError` where they are not those whose hash was recorded, and where a number is not finite.
        """
        file = self.path / f"{name}.safetensors"
        expected = self.meta["sha256"].get(file.name)
        if expected is None or not file.is_file():
            known = ", ".join(sorted(self.meta["sha256"]))
            raise InputError(f"The checkpoint {self.path} has no {file.name}; it holds {known}.")
        if sha256(file) != expected:
            raise InputError(
                f"{file} is damaged: its SHA-256 is not the one recorded in {META}. Copy the checkpoint again or "
                "use an earlier one."
            )
        try:
            tensors = load_file(file)
        except SafetensorError as error:
            raise InputError(f"{file} cannot be read as safetensors: {error}.") from error
        check_finite_tensors(tensors, file)
        return tensors

    def check(self) -> None:
        """Raises `InputError` when a file is damaged or missing."""
        for name in self.meta["sha256"]:
            self.tensors(name.removesuffix(".safetensors"))


def check_finite_tensors(tensors: Mapping[str, Tensor], file: str | Path) -> None:
    """Raises `InputError` where a number of the tensors, which come from `file`, is not finite."""
    if broken := [key for key, value in tensors.items() if not bool(value.isfinite().all())]:
        raise InputError(
            f"`{broken[0]}` in {file} holds numbers that are not finite ({len(broken)} of {len(tensors)} tensors "
            "do): the training diverged, or the file is not a network's. Use an earlier checkpoint."
        )


def save(
    run_dir: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    meta: Mapping[str, Any],
    keep: int | None = None,
    protected: Collection[Path] = (),
) -> Path:
    """Writes the checkpoint of `step`, unless this run (meta["run"]) has written it, and returns its folder.

    Of the others only the newest `keep` and the `protected` ones stay. Raises `InputError` when another run's is there.
    """
    place = folder(run_dir, step)
    if place.exists():
        if load(place).meta.get("run") not in (None, meta.get("run")):
            raise InputError(
                f"{place} is of another run: nothing was written. Choose another run_dir, or move it away."
            )
        return place
    with atomic_write(place) as temporary:
        temporary.mkdir(parents=True)
        hashes = {}
        for name, group in tensors.items():
            file = temporary / f"{name}.safetensors"
            save_tensors(group, file)
            hashes[file.name] = sha256(file)
        content = {"format": FORMAT, "step": step, **meta, "sha256": hashes}
        write_json(temporary / META, with_hash(content))
    if keep is not None:
        for old in set(steps(run_dir)[:-keep]) - set(protected):
            shutil.rmtree(old)
    return place


def save_tensors(group: Mapping[str, Tensor], file: Path) -> None:
    """Writes tensors of any device as safetensors; `OSError` for what the operating system refuses, as a full disk."""
    try:
        save_file({key: value.detach().cpu().contiguous() for key, value in group.items()}, file)
    except SafetensorError as error:  # which hides the number of the operating system's error in its text
        if found := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(file)) from error
        raise


def with_hash(content: Mapping[str, Any]) -> dict[str, Any]:
    """A description with the SHA-256 of all else in it, whatever the order of its keys."""
    rest = {key: value for key, value in content.items() if key != META_HASH}
    return {**rest, META_HASH: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def folder(run_dir: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies."""
    return run_dir / FOLDER / f"step_{step:08d}"


def steps(run_dir: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first."""
    return sorted(path for path in (run_dir / FOLDER).glob("step_*") if STEP.fullmatch(path.name))


def find(path: str | Path) -> Path:
    """The checkpoint folder that `path` stands for: itself, a file in it, or the last one of a run directory.

    Raises `InputError` when there is none.
    """
    path = Path(path)
    if path.is_file():
        path = path.parent
    if (path / META).is_file():
        return path
    if saved := steps(path):
        return saved[-1]
    raise InputError(
        f"There is no checkpoint at {path}: expected a run directory with {FOLDER}/step_*, one such folder, or a file "
        "inside it."
    )


def load(path: str | Path) -> Checkpoint:
    """Opens the checkpoint that `path` stands for (see `find`). Raises `InputError` when it is damaged or newer."""
    place = find(path)
    meta = read_json(place / META)
    if not isinstance(meta, dict) or not {"format", "step", "config", "sha256"} <= meta.keys():
        raise InputError(f"{place / META} is not the description of a checkpoint.")
    if meta["format"] != FORMAT:
        raise NewerFormatError(
            f"{place} has checkpoint format {meta['format']}; this version reads format {FORMAT}. Update the package."
        )
    if META_HASH in meta and meta != with_hash(meta):
        raise InputError(f"{place / META} is damaged: its content is not what was written. Use an earlier checkpoint.")
    return Checkpoint(place, meta)


def newest_sound(run_dir: Path) -> tuple[Checkpoint | None, list[str]]:
    """The last checkpoint of a run whose files are all as they were written, None where there is no checkpoint.

    Damaged ones after it are renamed to *.damaged, so that their steps can be written again; lines say so. Raises
    `InputError` when all are damaged, or the newest is of a later format.
    """
    damaged: list[tuple[Path, InputError]] = []
    for place in reversed(steps(run_dir)):
        try:
            saved = load(place)
            saved.check()
        except NewerFormatError:
            raise
        except InputError as error:
            damaged.append((place, error))
            continue
        for bad, _ in damaged:
            bad.rename(bad.with_name(f"{bad.name}.{time.time_ns()}.damaged"))
        return saved, [f"{error} It was set aside; the one of step {saved.step} is sound." for _, error in damaged]
    if damaged:
        raise damaged[0][1]
    return None, []


def provenance(packages: Collection[str] = ()) -> dict[str, Any]:
    """Versions of Python, torch, NumPy and the given packages, as far as they are installed, and the code's git
    revision (None outside git)."""
    versions = {"python": platform.python_version()}
    for name in ("torch", "numpy", *packages):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "git": _git_revision()}


def _git_revision() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    result = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"], capture_output=True, text=True
    )
    return result.stdout.strip() or None
