"""Demonstrations from a file, whatever its format: `isd_policy.read`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from isd_core.presets import config_from, given
from isd_envs.task_configs import settings_of_data
from isd_envs.tasks import TASKS
from isd_policy.data import read as read_file
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.data.description import describe


def read(
    path: str | Path,
    *,
    task: str | None = None,
    observation_keys: Sequence[str] | None = None,
    action_key: str | None = None,
    filter_key: str | None = None,
    pictures: str | None = None,
    external: bool | None = None,
    allow_differences: Sequence[str] | None = None,
    reader: str | Mapping[str, Any] | None = None,
    observations: Mapping[str, str | Sequence[str]] | None = None,
    actions: str | Sequence[str] | None = None,
    episodes: str | Sequence[str] | None = None,
    rate: float | None = None,
) -> Demonstrations:
    """The demonstrations of a file; its content decides who reads it, or `reader`, a registered name (or its fields).

    task: a name of configs/task, whose observations are read (None: the task that the file names; all observations of
    the file where it names none that can be made here). observation_keys: others than the task's. action_key:
    `actions` or another of the file's. filter_key: a list of demonstrations in the file, such as `train`. pictures:
    where they are held, memory | disk | auto. external: whether the file may take data from other files.
    allow_differences: observations that may mean something else in the simulator than in the file, when a policy is
    trained.

    observations, actions, episodes: which array of any HDF5 or zarr is what, `observations={"state": "obs/state"},
    actions="act", episodes="meta/episode_ends"`. rate: control steps a second, where the file does not say it. What is
    None is the default of configs/dataset. Raises `InputError` when the file or what it holds cannot be used.
    """
    options = given(
        action_key=action_key,
        filter_key=filter_key,
        pictures=pictures,
        external=external,
        allow_differences=None if allow_differences is None else list(allow_differences),
        reader=dict(reader) if isinstance(reader, Mapping) else reader,
        observations=None if observations is None else {key: _plain(value) for key, value in observations.items()},
        actions=None if actions is None else _plain(actions),
        episodes=[episodes] if isinstance(episodes, str) else (None if episodes is None else list(episodes)),
        rate=rate,
    )
    settings: dict[str, Any] = {"data": str(path), **{f"dataset.{key}": value for key, value in options.items()}}
    if observation_keys is None:
        settings |= {"task": task} if task else task_of_file(Path(path), options)
    else:
        settings |= {"task": task or "own", "task.observation_keys": list(observation_keys)}
    return replace(read_file(path, config_from("policy_train", settings)["dataset"]), read_by=options)


def _plain(value: str | Sequence[str]) -> str | list[str]:
    return value if isinstance(value, str) else list(value)


def task_of_file(path: Path, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The task of the environment that a file names; without one of robosuite's, with all observations of the file.

    options: those of the group `dataset` by which it is read.
    """
    described = describe(path, options)
    found = settings_of_data(described.env_args)
    return found if found["task"] in TASKS else found | {"task.observation_keys": list(described.observations)}
