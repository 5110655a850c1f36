"""Demonstrations from a file, whatever its format: `isd_policy.read`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isd_core.presets import config_from, given
from isd_core.support.errors import InputError
from isd_envs.task_configs import settings_of_data
from isd_envs.tasks import OWN, TASKS
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
) -> Demonstrations:
    """The demonstrations of a file: robomimic's HDF5, a zarr store or Push-T's recording; its content decides.

    task: a name of configs/task, whose observations are read (None: the task that the file names). observation_keys:
    others than the task's. action_key: `actions` or another of the file's. filter_key: a list of demonstrations in the
    file, such as `train`. pictures: where they are held, memory | disk | auto. What is None is the default of
    configs/dataset. Raises `InputError` when the file or what it holds cannot be used.
    """
    options = given(action_key=action_key, filter_key=filter_key, pictures=pictures)
    settings: dict[str, Any] = {"data": str(path), **{f"dataset.{key}": value for key, value in options.items()}}
    if observation_keys is None:
        settings |= {"task": task} if task else task_of_file(Path(path))
    else:
        settings |= {"task": task or "own", "task.observation_keys": list(observation_keys)}
    return read_file(path, config_from("policy_train", settings)["dataset"])


def task_of_file(path: Path) -> dict[str, Any]:
    """The task of the environment that a file names; of gymnasium's, with all observations of the file.

    Raises `InputError` where it names none that can be made here.
    """
    described = describe(path)
    found = settings_of_data(described.env_args)
    if found["task"] == OWN:
        raise InputError(
            f"{path} names no environment of this package, so it is not known what a policy is to see. Its "
            f"observations: {', '.join(described.observations) or 'none'}. Name some: observation_keys=[...]."
        )
    return found if found["task"] in TASKS else found | {"task.observation_keys": list(described.observations)}
