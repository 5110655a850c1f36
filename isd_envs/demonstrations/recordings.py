"""Recorded demonstrations to execute again: robomimic's and robosuite's HDF5 files, and Push-T's recording."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import is_group
from isd_envs.demonstrations import hdf5
from isd_envs.demonstrations.hdf5 import DemonstrationFile
from isd_envs.demonstrations.pusht_recording import PushTRecording
from isd_envs.engines.engine import Engine
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.engines.pusht.spec import PushTSpec
from isd_envs.env_args import spec_of_data
from isd_envs.spec import Spec


@dataclass(frozen=True)
class RecordedEpisode:
    """One demonstration: actions [T, Da], states [T, ...] of the simulator, and robosuite's model as XML.

    start: what an environment of gymnasium is repeated from; it has no states.
    """

    name: str
    actions: np.ndarray
    states: np.ndarray
    xml: str = ""
    start: dict[str, Any] | None = None


@dataclass(frozen=True)
class Recording:
    """A file of demonstrations. version: of the simulator that made it, as the file says."""

    path: Path
    spec: Spec
    version: str
    episodes: list[RecordedEpisode]


def load_recording(
    path: Path, action_key: str = "actions", engine: str = "compiled", mode: str = "exact", external: bool = False
) -> Recording:
    """Reads actions and states of all demonstrations of a file.

    action_key: `actions_abs` makes the environment one of absolute poses. engine, mode: of robosuite's tasks. external:
    whether the file may take data from other files. Raises `InputError` for another kind of file, an environment that
    is not simulated here, and damaged data.
    """
    if path.exists() and is_group(path):
        return _pusht(path, external)
    with hdf5.opened(path, external) as file:
        env_args = file.env_args
        spec = spec_of_data(env_args, engine, mode)
        if action_key == "actions_abs":
            spec = spec.with_action_mode("absolute")
        read = _started_episode if isinstance(spec, GymSpec) else read_episode
        episodes = [read(file, name, action_key) for name in file.names]
    return Recording(path, spec, str(env_args.get("env_version") or "unknown"), episodes)


def read_episode(file: DemonstrationFile, name: str, action_key: str) -> RecordedEpisode:
    """Actions, states and model of one demonstration; `InputError` for what is missing or does not fit."""
    states, actions = file.find(name, "states"), file.find(name, action_key)
    if states is None or actions is None:
        raise InputError(
            f"{file.path} cannot be replayed: data/{name} has no {'states' if states is None else action_key}; it has "
            f"{', '.join(file.keys(name)) or 'nothing'}. Expected data/<demonstration>/states and {action_key}, or "
            "Push-T's zarr recording."
        )
    if states.ndim != 2 or actions.ndim != 2 or len(states) < len(actions) or not len(actions):
        raise InputError(
            f"{file.path}: data/{name} has states {list(states.shape)} and {action_key} {list(actions.shape)}; "
            "expected [steps, size] of both, and a state before each action."
        )
    return RecordedEpisode(name, np.asarray(actions, np.float64), np.asarray(states), file.model_xml(name))


def _started_episode(file: DemonstrationFile, name: str, action_key: str) -> RecordedEpisode:
    """A demonstration that is repeated from its start."""
    actions = file.find(name, action_key)
    if actions is None or actions.ndim != 2 or not len(actions):
        raise InputError(f"{file.path} cannot be replayed: data/{name} has no {action_key} [steps, size].")
    return RecordedEpisode(name, np.asarray(actions, np.float64), np.zeros((len(actions), 0)), start=file.start(name))


def start_of(recording: Recording, episode: RecordedEpisode, engine: Engine, step: int = 0) -> dict[str, Any]:
    """The state before a step of an episode, for `engine.reset_to`; of an environment of gymnasium its start alone.

    Raises `InputError` when the recorded model is not the one that is simulated here.
    """
    if episode.start is not None:
        return episode.start
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


def _pusht(path: Path, external: bool) -> Recording:
    found = PushTRecording.open(path, external)
    spans = zip(found.names, [0, *found.ends[:-1].tolist()], found.ends.tolist(), strict=True)
    episodes = [RecordedEpisode(name, found.actions[a:b], found.states[a:b]) for name, a, b in spans]
    return Recording(path, PushTSpec(), "Diffusion Policy's Push-T", episodes)
