"""The role of readers: who makes demonstrations of a file.

    @isd_policy.register("reader", "my_logs")
    @dataclass(frozen=True)
    class MyLogs(Reader):
        kind = "my logs"

        def read(self, path, options):
            ...
            return Demonstrations.from_arrays(...)

`dataset.reader=my_logs` then reads by it. A reader that can tell its files says so in `recognises`, and is found
without being named.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.registry import role
from isd_policy.data.demonstrations import Demonstrations

ACTIONS = "actions"


@dataclass(frozen=True)
class ReadOptions:
    """What is asked of a reader.

    observation_keys: the observations, in the order in which a policy joins them; None: all of the file. action_key:
    `actions` or another of the file's. filter_key: a list of demonstrations in the file; None: all. pictures: where
    pictures are held, `memory`, `disk`, or `auto` by their size. external: whether the file may take data from other
    files.
    """

    observation_keys: tuple[str, ...] | None = None
    action_key: str = ACTIONS
    filter_key: str | None = None
    pictures: str = "auto"
    external: bool = False


@dataclass(frozen=True)
class Description:
    """What a file holds.

    kind: what wrote the file; observations: key -> shape of a step; actions: key -> size; masks: filter key ->
    names; env_args: None where the file has none that can be read; external: whether it was allowed to take data from
    other files; rate: control steps a second, where the file says it; states: whether it holds a simulator's states;
    labels: key (or `actions`) -> the names of its numbers, where the file says them.
    """

    path: Path
    kind: str
    lengths: np.ndarray
    names: tuple[str, ...]
    observations: Mapping[str, tuple[int, ...]]
    actions: Mapping[str, int]
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    env_args: dict[str, Any] | None = None
    external: bool = False
    rate: float | None = None
    states: bool = False
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@role("reader", "readers")
class Reader(ABC):
    """Reads files of one format. kind: what they are called in a sentence."""

    kind: ClassVar[str] = "demonstrations"

    @abstractmethod
    def read(self, path: Path, options: ReadOptions) -> Demonstrations:
        """The demonstrations of a file or folder.

        Raises `InputError` that names the file, the place in it, what was expected, and what to do.
        """

    def describe(self, path: Path, external: bool = False) -> Description:
        """What the file holds. A reader that can tell without reading all of it does so."""
        found = self.read(path, ReadOptions(pictures="disk", external=external))
        return Description(
            path=path,
            kind=self.kind,
            lengths=found.lengths,
            names=found.names,
            observations=found.schema.shapes,
            actions={ACTIONS: found.actions.shape[1]},
            env_args=found.env_args,
            external=external,
            rate=found.rate,
            labels=found.labels,
        )

    def recognises(self, path: Path, external: bool = False) -> bool:
        """Whether a file is certainly one of its format."""
        return False


def check_no_choice(path: Path, options: ReadOptions, kind: str) -> None:
    """Raises `InputError` for other actions and lists of demonstrations, where a format has neither."""
    if options.action_key != ACTIONS:
        raise InputError(
            f"{path}: {kind} has one kind of actions, so there is no `{options.action_key}`: use actions=recorded."
        )
    if options.filter_key is not None:
        raise InputError(f"{path}: {kind} has no filter keys, so dataset.filter_key={options.filter_key} must be null.")


def chosen_keys(path: Path, options: ReadOptions, known: Mapping[str, Any]) -> tuple[str, ...]:
    """The observations that are asked for; `InputError` for one that is not there, and where there is none."""
    keys = tuple(known) if options.observation_keys is None else options.observation_keys
    if unknown := [key for key in keys if key not in known]:
        raise InputError(
            f"{path} has no observation `{unknown[0]}`; there is: {', '.join(known) or 'none'}. Set "
            "dataset.observation_keys to what the file has."
        )
    if not keys:
        raise InputError(f"{path} has no observations, so there is nothing that a policy could see.")
    return keys


def finite(values: np.ndarray, place: str) -> np.ndarray:
    """The numbers [steps, size], which come from `place`; `InputError` that names the first one that is not finite."""
    if not np.isfinite(values).all():
        step, column = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"{place} holds {values[step, column]} at step {step}, column {column}. Remove or repair the episode."
        )
    return values
