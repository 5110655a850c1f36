"""Demonstrations of older simulators, read as what the present one observes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from isd_core.support.errors import InputError
from isd_envs.demonstrations.object_layouts import HAND, translation_of
from isd_envs.notes import say
from isd_envs.tasks import RobosuiteTask, task_of_data
from isd_policy.data.demonstrations import Demonstrations

OBJECT = "object"

Read = Callable[[Sequence[str]], Demonstrations]
"""Other observations of the same demonstrations."""


def translated(demonstrations: Demonstrations, read: Read) -> Demonstrations:
    """The demonstrations with `object` as robosuite 1.5 observes it, where it is robosuite 1.4's; a line says so.

    Without the hand's pose in the file nothing is known and nothing is changed.
    """
    if OBJECT not in demonstrations.observations or demonstrations.env_args is None:
        return demonstrations
    task = task_of_data(demonstrations.env_args["env_name"])
    if not isinstance(task, RobosuiteTask):
        return demonstrations
    try:
        hand = {key: np.asarray(rows, np.float64) for key, rows in read(HAND).observations.items()}
    except InputError:
        return demonstrations
    values = np.asarray(demonstrations.observations[OBJECT])
    found = translation_of(task.name, {OBJECT: values.astype(np.float64), **hand})
    if found is None:
        return demonstrations
    _tell(f"Note: {demonstrations.source}: `{OBJECT}` is robosuite 1.4's; read as 1.5's: {found.text}.")
    first = np.cumsum(demonstrations.lengths) - demonstrations.lengths
    place, quaternion = (hand[key] for key in HAND)
    own = found.apply(values.astype(np.float64), place, quaternion, first).astype(np.float32)
    return replace(demonstrations, observations={**demonstrations.observations, OBJECT: own})


@cache
def _tell(text: str) -> None:
    """Once for each file and process, however often it is read."""
    say(text)
