"""Recorded demonstrations to execute again: robomimic's and robosuite's HDF5 files, and Push-T's recording."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

from envs.engines.engine import Engine
from envs.engines.pusht.spec import PushTSpec
from envs.spec import Spec, spec_of_data
from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import is_group, open_group


@dataclass(frozen=True)
class RecordedEpisode:
    """One demonstration: actions [T, Da], states [T, ...] of the simulator, and robosuite's model as XML."""

    name: str
    actions: np.ndarray
    states: np.ndarray
    xml: str = ""


@dataclass(frozen=True)
class Recording:
    """A file of demonstrations. version: of the simulator that made it, as the file says."""

    path: Path
    spec: Spec
    version: str
    episodes: list[RecordedEpisode]


def load_recording(path: Path, action_key: str = "actions", engine: str = "compiled", mode: str = "exact") -> Recording:
    """Reads actions and states of all demonstrations of a file.

    action_key: `actions_abs` makes the environment one of absolute poses. engine, mode: of robosuite's tasks.
    Raises `InputError` for another kind of file, an environment that is not simulated here, and damaged data.
    """
    if path.exists() and is_group(path):
        return _pusht(path)
    try:
        with h5py.File(path, "r") as file:
            data = file["data"]
            env_args = _env_args(path, data.attrs)
            spec = spec_of_data(env_args, engine, mode)
            if action_key == "actions_abs":
                spec = spec.with_action_mode("absolute")
            names = sorted(data, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
            episodes = [_episode(path, data[name], name, action_key) for name in names]
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be replayed ({error}); expected an HDF5 file with data/<demonstration>/states and "
            f"{action_key}, or Push-T's zarr recording."
        ) from error
    return Recording(path, spec, str(env_args.get("env_version") or "unknown"), episodes)


def _env_args(path: Path, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """robomimic's description, or robosuite's own (env, env_info, repository_version) in the same form."""
    try:
        if "env_args" in attributes:
            found: dict[str, Any] = json.loads(attributes["env_args"])
            return found
        info = json.loads(attributes["env_info"])
        version, name = str(attributes["repository_version"]), str(attributes["env"])
        return {"env_name": name, "env_version": version, "env_kwargs": info}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not say of which environment it is (data.attrs env_args, or env and env_info: {error})."
        ) from error


def _episode(path: Path, demo: h5py.Group, name: str, action_key: str) -> RecordedEpisode:
    states, actions = np.asarray(demo["states"]), np.asarray(demo[action_key], np.float64)
    if len(states) < len(actions) or not len(actions):
        raise InputError(f"{path}: data/{name} has {len(states)} states for {len(actions)} actions.")
    text = str(demo.attrs["model_file"])
    if not text.lstrip().startswith("<"):
        beside = path.parent / "models" / text
        if not beside.is_file():
            raise InputError(f"{path} names the model {text}, which is not at {beside}.")
        text = beside.read_text()
    return RecordedEpisode(name, actions, states, text)


def start_of(recording: Recording, episode: RecordedEpisode, engine: Engine, step: int = 0) -> dict[str, Any]:
    """The state before a step of an episode, for `engine.reset_to`.

    Raises `InputError` when the recorded model is not the one that is simulated here.
    """
    state, task = episode.states[step], recording.spec.task
    if isinstance(recording.spec, PushTSpec):
        return {"task": task, "state": state.tolist()}
    model: Any = engine.model  # type: ignore[attr-defined]  # every robosuite engine has one
    if len(state) != 1 + model.nq + model.nv:
        raise InputError(
            f"{recording.path}: a state of data/{episode.name} has {len(state)} numbers; in this simulator "
            f"{recording.spec.definition.title} has {1 + model.nq + model.nv}. Replay it with robosuite "
            f"{recording.version}."
        )
    qpos, qvel = state[1 : 1 + model.nq], state[1 + model.nq :]
    return {"task": task, "qpos": qpos.tolist(), "qvel": qvel.tolist()} | _parameters(task, episode.xml)


def _parameters(task: str, xml: str) -> dict[str, Any]:
    """The model's parameters that belong to a start (m): half edges of Lift's cube, of the head of the hammer."""
    if task == "lift":
        return {"cube_size": _box(xml, r"cube(_g0)?")}
    if task == "transport":
        return {"hammer_head": [_box(xml, r"payload_head")[1]]}
    return {}


def _box(xml: str, name: str) -> list[float]:
    for geom in ElementTree.fromstring(xml).iter("geom"):
        if geom.get("type") == "box" and re.fullmatch(name, geom.get("name", "")):
            return [float(word) for word in geom.get("size", "").split()]
    raise InputError(f"The recorded model has no box called {name}, so its size is unknown.")


def _pusht(path: Path) -> Recording:
    group = open_group(path)
    try:
        states, actions, ends = (
            np.asarray(group[key][:], np.float64) for key in ("data/state", "data/action", "meta/episode_ends")
        )
    except KeyError as error:
        raise InputError(f"{path} has no {error}: of zarr stores only Push-T's recording holds states.") from error
    spans = zip([0, *ends[:-1].astype(int).tolist()], ends.astype(int).tolist(), strict=True)
    episodes = [RecordedEpisode(f"demo_{i}", actions[a:b], states[a:b]) for i, (a, b) in enumerate(spans)]
    return Recording(path, PushTSpec(), "Diffusion Policy's Push-T", episodes)
