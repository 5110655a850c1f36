"""Formats of others that are mappings with a name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from isd_core.support.errors import InputError
from isd_core.support.hdf5_groups import is_hdf5
from isd_core.support.registry import register
from isd_core.support.zarr_groups import is_group
from isd_envs.tasks import GYMNASIUM
from isd_policy.data import trees
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.data.mapping import ArrayMapping, Arrays
from isd_policy.data.reader import Description, ReadOptions
from isd_policy.data.trees import Tree

UMI_POSE = ("robot0_eef_pos", "robot0_eef_rot_axis_angle", "robot0_gripper_width")
D4RL_ARRAYS = ("observations", "actions", "terminals")


@register("reader", "d4rl")
@dataclass(frozen=True)
class D4RL(ArrayMapping):
    """D4RL's HDF5: `observations`, `actions`, `terminals` and `timeouts`, all episodes one after another."""

    kind: ClassVar[str] = "D4RL HDF5"

    observations: dict[str, Arrays] = field(default_factory=lambda: {"state": "observations"})
    actions: Arrays | None = "actions"

    def recognises(self, path: Path, external: bool = False) -> bool:
        if not path.is_file() or not is_hdf5(path):
            return False
        return _holds(path, external, lambda tree: all(name in tree.arrays for name in D4RL_ARRAYS))


@register("reader", "umi")
@dataclass(frozen=True)
class UMI(ArrayMapping):
    """The zarr of the Universal Manipulation Interface with one hand. An action is the pose and the opening of the
    gripper at its step. Cameras are in UMI's own order; their codec needs the package imagecodecs.
    """

    kind: ClassVar[str] = "UMI replay buffer (zarr)"

    observations: dict[str, Arrays] = field(
        default_factory=lambda: {key: f"data/{key}" for key in (*UMI_POSE, "camera0_rgb")}
    )
    actions: Arrays | None = field(default_factory=lambda: [f"data/{key}" for key in UMI_POSE])
    episodes: list[str] = field(default_factory=lambda: ["meta/episode_ends"])

    def mapped(self, tree: Tree) -> tuple[Mapping[str, Arrays], Arrays, Sequence[str]]:
        """A buffer without the camera is one of poses."""
        observations, actions, episodes = super().mapped(tree)
        return {key: arrays for key, arrays in observations.items() if _there(tree, arrays)}, actions, episodes

    def recognises(self, path: Path, external: bool = False) -> bool:
        if not path.exists() or not is_group(path):
            return False
        return _holds(path, external, lambda tree: all(f"data/{key}" in tree.arrays for key in UMI_POSE))


@register("reader", "minari")
@dataclass(frozen=True)
class Minari(ArrayMapping):
    """Minari's HDF5: groups `episode_0`, ... with `observations` of one step more than `actions`, which is left out.

    The file is `data/main_data.hdf5` of a data set's folder, or that folder.
    """

    kind: ClassVar[str] = "Minari HDF5"
    surplus: ClassVar[int] = 1

    actions: Arrays | None = "actions"
    episodes: list[str] = field(default_factory=lambda: ["episode_*"])

    def read(self, path: Path, options: ReadOptions) -> Demonstrations:
        return super().read(_file(path), options)

    def describe(self, path: Path, external: bool = False) -> Description:
        return super().describe(_file(path), external)

    def mapped(self, tree: Tree) -> tuple[Mapping[str, Arrays], Arrays, Sequence[str]]:
        """The observations are an array, or those of a dictionary by their own names."""
        if not any(name.startswith("episode_0/actions") for name in tree.arrays):
            raise InputError(f"{tree.path} has no episode_0/actions of Minari. It holds {tree.listed()}.")
        if self.observations:
            return super().mapped(tree)
        first = "episode_0/observations"
        inner = [name.removeprefix(f"{first}/") for name in tree.arrays if name.startswith(f"{first}/")]
        found: dict[str, Arrays] = {name.replace("/", "_"): f"observations/{name}" for name in inner}
        return found or {"state": "observations"}, self.actions or "actions", self.episodes

    def env_args(self, tree: Tree) -> dict[str, Any] | None:
        """The environment of gymnasium that the data set was recorded in."""
        beside = tree.path.parent / "metadata.json"
        said = json.loads(beside.read_text()) if beside.is_file() else tree.attributes
        try:
            spec = said["env_spec"]
            spec = json.loads(spec) if isinstance(spec, str | bytes) else spec
            return {"type": GYMNASIUM, "env_name": str(spec["id"]), "env_kwargs": dict(spec.get("kwargs") or {})}
        except (KeyError, TypeError, ValueError):
            return None

    def recognises(self, path: Path, external: bool = False) -> bool:
        path = _file(path)
        if not path.is_file() or not is_hdf5(path):
            return False
        return _holds(path, external, lambda tree: "episode_0/actions" in tree.arrays)


def _file(path: Path) -> Path:
    """The file with the episodes, of a data set's folder."""
    places = (path / "data" / "main_data.hdf5", path / "main_data.hdf5")
    return next((place for place in places if place.is_file()), path)


def _there(tree: Tree, arrays: Arrays) -> bool:
    return all(name in tree.arrays for name in ([arrays] if isinstance(arrays, str) else arrays))


def _holds(path: Path, external: bool, test: Any) -> bool:
    try:
        with trees.opened(path, external) as tree:
            return bool(test(tree))
    except InputError:
        return False
