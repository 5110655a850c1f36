"""Checkpoints: a folder of safetensors files and one JSON file, whole or absent, without pickle.

    run_dir/checkpoints/step_00001000/
        model.safetensors  ema.safetensors  optimizer.safetensors  meta.json

`meta.json` holds the resolved config, versions, git revision and the SHA-256 of every file beside it.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
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
FOLDER = "checkpoints"
META = "meta.json"
STEP = re.compile(r"step_(\d{8})")


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
        if broken := [key for key, value in tensors.items() if not bool(value.isfinite().all())]:
            raise InputError(
                f"`{broken[0]}` in {file} holds numbers that are not finite ({len(broken)} of {len(tensors)} tensors "
                "do): the training diverged, or the file is not a network's. Use an earlier checkpoint."
            )
        return tensors


def save(
    run_dir: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    meta: Mapping[str, Any],
    keep: int | None = None,
    protected: Collection[Path] = (),
) -> Path:
    """Writes the checkpoint of `step`, unless it is there, and returns its folder.

    Of the others only the newest `keep` and the `protected` ones stay.
    """
    place = folder(run_dir, step)
    if place.exists():
        return place
    with atomic_write(place) as temporary:
        temporary.mkdir(parents=True)
        hashes = {}
        for name, group in tensors.items():
            file = temporary / f"{name}.safetensors"
            save_file({key: value.detach().cpu().contiguous() for key, value in group.items()}, file)
            hashes[file.name] = sha256(file)
        write_json(temporary / META, {"format": FORMAT, "step": step, **meta, "sha256": hashes})
    if keep is not None:
        for old in set(steps(run_dir)[:-keep]) - set(protected):
            shutil.rmtree(old)
    return place


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
        raise InputError(
            f"{place} has checkpoint format {meta['format']}; this version reads format {FORMAT}. Update the package."
        )
    return Checkpoint(place, meta)


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
