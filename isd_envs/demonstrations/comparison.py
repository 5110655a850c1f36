"""Whether the observations of a file mean here what they meant where they were recorded.

A sample of recorded states is restored, and what the simulator observes there is compared with what the file says, key
by key. Successful replays do not show this: they need no observations.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.zarr_groups import is_group
from isd_envs.demonstrations import hdf5
from isd_envs.demonstrations.hdf5 import DemonstrationFile
from isd_envs.demonstrations.object_layouts import HAND, remembering, translation_of
from isd_envs.demonstrations.recordings import RecordedEpisode, Recording, read_episode, start_of
from isd_envs.engines.engine import RobotEngine, show
from isd_envs.env_args import spec_of_data
from isd_envs.spec import CAMERA_SUFFIX, EnvSpec

EPISODES, STEPS = 3, 8
"""The sample: so many episodes, and steps of each."""
NEAR = 1e-3
"""Differences up to this (m, rad, ...) are rounding, in data of float32 as well."""
MOTION = 0.5
"""And up to this part of what the entry changes from one step to the next: recorded live, places are a substep old."""
CLEARLY = 0.8
"""A picture counts as turned or recoloured when that brings it nearer to the simulator's by this factor."""


class CannotCompareError(Exception):
    """There is nothing to compare, or no simulator to compare it with; the message says which."""


@dataclass(frozen=True)
class Difference:
    """An observation that means something else here. known: reading the file for training translates it."""

    key: str
    text: str
    known: bool = False

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


def differences(
    path: Path, keys: Sequence[str] | None = None, external: bool = False, engine: RobotEngine | None = None
) -> list[Difference]:
    """What the file's observations and the simulator's disagree in.

    keys: those to compare (None: all). external: whether the file may take data from other files. engine: of the file's
    environment (None: robosuite's own is built). Raises `CannotCompareError` for files without states or observations,
    `InputError` for what cannot be simulated here.
    """
    if path.is_dir() or (path.exists() and is_group(path)):
        raise CannotCompareError("zarr stores hold no states of robosuite")
    with hdf5.opened(path, external) as file:
        names = [file.names[i] for i in np.unique(np.linspace(0, len(file.names) - 1, EPISODES).round().astype(int))]
        if any(file.find(name, "states") is None for name in names) or not file.keys(names[0], "obs"):
            raise CannotCompareError("the file holds no states, or no observations")
        if engine is None and importlib.util.find_spec("robosuite") is None:
            raise CannotCompareError("robosuite is not installed")
        spec = spec_of_data(file.env_args)
        assert isinstance(spec, EnvSpec)
        episodes = [read_episode(file, name, "actions") for name in names]
        recording = Recording(path, spec, str(file.env_args.get("env_version") or "unknown"), episodes)
        wanted = [key for key in file.keys(names[0], "obs") if keys is None or key in keys]
        own = engine is None
        engine = _reference(spec) if engine is None else engine
        try:
            return _compared(file, recording, wanted, engine)
        finally:
            if own:
                engine.close()


def _reference(spec: EnvSpec) -> RobotEngine:
    from isd_envs.engines.robosuite_engine import RobosuiteEngine  # brings the simulator along

    return RobosuiteEngine(replace(spec, engine="robosuite"))


def _compared(
    file: DemonstrationFile, recording: Recording, keys: Sequence[str], engine: RobotEngine
) -> list[Difference]:
    offered = recording.spec.definition.observation_sizes
    recorded: dict[str, list[np.ndarray]] = {key: [] for key in keys}
    restored: dict[str, list[np.ndarray]] = {key: [] for key in offered}
    before: dict[str, list[np.ndarray]] = {key: [] for key in offered}
    drawn: dict[str, list[np.ndarray]] = {key: [] for key in keys if key.endswith(CAMERA_SUFFIX)}
    for episode in recording.episodes:
        rows = {key: _rows(file, episode.name, key, len(episode.actions)) for key in keys}
        for step in _steps(episode):
            earlier = engine.reset_to(start_of(recording, episode, engine, step - 1))
            now = remembering(recording.spec.task, earlier, engine.reset_to(start_of(recording, episode, engine, step)))
            for key in keys:
                recorded[key].append(rows[key][step])
            for key in offered:
                restored[key].append(now[key])
                before[key].append(earlier[key])
            for key in drawn:
                drawn[key].append(_picture(engine, episode.states[step], key, rows[key].shape[1:3]))
    if not restored or not next(iter(restored.values())):
        raise CannotCompareError("no episode has two steps")
    found = []
    for key in keys:
        if key in drawn:
            text = _picture_difference(np.stack(recorded[key]), np.stack(drawn[key]))
        elif key in offered:
            text = _difference(np.stack(recorded[key]), np.stack(restored[key]), np.stack(before[key]), key)
        else:
            continue
        if text and key == "object" and (known := _known(file, recording, restored, before)):
            found.append(Difference(key, known, known=True))
        elif text:
            found.append(Difference(key, text))
    return found


def _steps(episode: RecordedEpisode) -> list[int]:
    """The sample of an episode's steps; not its first, which no observation precedes."""
    last = len(episode.actions) - 1
    steps: list[int] = np.unique(np.linspace(1, last, STEPS).round().astype(int)).tolist() if last else []
    return steps


def _rows(file: DemonstrationFile, name: str, key: str, length: int) -> np.ndarray:
    node = file.find(name, f"obs/{key}")
    if node is None or len(node) < length:
        raise InputError(f"{file.path}: data/{name} has no obs/{key} of {length} steps, as others have.")
    values = node[()]
    return values if values.ndim > 1 else values[:, None]


# -- numbers -----------------------------------------------------------------------------------------------------------


def _tolerance(restored: np.ndarray, before: np.ndarray) -> np.ndarray:
    """How far each entry may be off, [d]."""
    return NEAR + MOTION * np.abs(restored - before).max(axis=0)


def _difference(recorded: np.ndarray, restored: np.ndarray, before: np.ndarray, key: str) -> str:
    """Which entries of [n, d] differ, by how much, and what explains it; empty where none does."""
    if recorded.shape != restored.shape:
        return f"{recorded.shape[1]} numbers in the file, {restored.shape[1]} in the simulator"
    allowed = _tolerance(restored, before)
    off = np.abs(recorded - restored).max(axis=0)
    bad = np.flatnonzero(off > allowed)
    if not len(bad):
        return ""
    which = f"entries {_listed(bad)} differ by up to {off[bad].max():.3g}"
    return f"{which}; {_explanation(recorded, restored, allowed, bad, key)}"


def _listed(entries: np.ndarray) -> str:
    """0, 1, 2, 7 -> `0 to 2, 7`."""
    runs = np.split(entries, np.flatnonzero(np.diff(entries) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _explanation(recorded: np.ndarray, restored: np.ndarray, allowed: np.ndarray, bad: np.ndarray, key: str) -> str:
    def agrees(made: np.ndarray, columns: Any = slice(None), scale: float = 1.0) -> bool:
        return bool((np.abs(recorded[:, columns] - made).max(axis=0) <= scale * allowed[columns]).all())

    if agrees(-restored[:, bad], bad):
        return "their sign is the other one"
    if "quat" in key and restored.shape[1] == 4:
        w_first = np.roll(restored, 1, axis=1)
        if agrees(w_first) or agrees(-w_first):
            return "the quaternion's w comes first there, and last here"
        sign = np.sign((recorded * restored).sum(axis=1, keepdims=True))
        if agrees(sign * restored):
            return "the quaternion has the other sign in some steps, which is the same rotation"
    if (order := _order(recorded, restored, allowed)) is not None:
        return f"they come in another order there: the file's are the simulator's {order}"
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nanmedian(recorded[:, bad] / restored[:, bad])
    if np.isfinite(ratio) and agrees(ratio * restored[:, bad], bad, abs(ratio)):
        return f"they are {ratio:.4g} times as large there"
    return "nothing known explains it"


def _order(recorded: np.ndarray, restored: np.ndarray, allowed: np.ndarray) -> list[int] | None:
    """The simulator's entry that each recorded entry is, where each has one of its own."""
    off = np.abs(recorded[:, :, None] - restored[:, None, :]).max(axis=0)  # [recorded, restored]
    order = off.argmin(axis=1)
    near = off[np.arange(len(order)), order] <= allowed[order]
    return order.tolist() if near.all() and len(set(order.tolist())) == len(order) else None


def _known(
    file: DemonstrationFile,
    recording: Recording,
    restored: Mapping[str, Sequence[np.ndarray]],
    before: Mapping[str, Sequence[np.ndarray]],
) -> str:
    """What reading the file for training does to `object`, where that makes it the simulator's; otherwise empty."""
    made = []
    text = ""
    for episode in recording.episodes:
        if not (steps := _steps(episode)):
            continue
        if any(file.find(episode.name, f"obs/{key}") is None for key in HAND):
            return ""
        rows = {
            key: np.asarray(_rows(file, episode.name, key, len(episode.actions)), np.float64)
            for key in ("object", *HAND)
        }
        translation = translation_of(recording.spec.task, rows)
        if translation is None:
            return ""
        place, quaternion = (rows[key] for key in HAND)
        whole = translation.apply(rows["object"], place, quaternion, np.array([0]))
        made += [whole[step] for step in steps]
        text = f"it is robosuite 1.4's, and is read as 1.5's: {translation.text}"
    expected = np.stack(restored["object"])
    return text if not _difference(np.stack(made), expected, np.stack(before["object"]), "object") else ""


# -- pictures ----------------------------------------------------------------------------------------------------------

CHANGES = {
    "upside down": lambda picture: picture[:, ::-1],
    "mirrored": lambda picture: picture[:, :, ::-1],
    "turned by half a circle": lambda picture: picture[:, ::-1, ::-1],
    "BGR instead of RGB": lambda picture: picture[..., ::-1],
    "upside down and BGR": lambda picture: picture[:, ::-1, :, ::-1],
}


def _picture(engine: RobotEngine, state: np.ndarray, key: str, size: tuple[int, ...]) -> np.ndarray:
    show(engine, state)
    try:
        return engine.frame(size[1], size[0], key.removesuffix(CAMERA_SUFFIX))
    except InputError as error:
        raise CannotCompareError(f"pictures cannot be drawn: {error}") from error


def _picture_difference(recorded: np.ndarray, drawn: np.ndarray) -> str:
    """What makes pictures [n, H, W, 3] those of the simulator, where it is not nothing."""
    if recorded.shape != drawn.shape:
        return f"pictures of {list(recorded.shape[1:])} in the file, {list(drawn.shape[1:])} in the simulator"

    def off(pictures: np.ndarray) -> float:
        return float(np.abs(pictures.astype(np.float32) - drawn).mean())

    plain = off(recorded)
    change, least = min(((name, off(made(recorded))) for name, made in CHANGES.items()), key=lambda pair: pair[1])
    if least < CLEARLY * plain:
        return f"{change}: so they are {least:.1f} of 255 from the simulator's pictures, as they are {plain:.1f}"
    return ""
