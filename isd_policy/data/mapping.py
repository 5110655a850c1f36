"""Any HDF5 file or zarr store of episodes: a mapping says which array is what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.registry import register
from isd_policy.data.demonstrations import Demonstrations, Rows
from isd_policy.data.episodes import divide
from isd_policy.data.reader import ACTIONS, Description, Reader, ReadOptions, check_no_choice, chosen_keys, finite
from isd_policy.data.rows import RowsOnDisk, fits_in_memory
from isd_policy.data.trees import RowsOfTree, Span, Tree, opened

CHANNELS = (1, 3, 4)

Arrays = str | list[str]
"""An array's path, or several whose numbers are joined."""


@dataclass(frozen=True)
class Plan:
    """Where a file has what. names: of the episodes; actions, observations: for each of the joined arrays its rows in
    every episode.
    """

    names: tuple[str, ...]
    actions: list[list[Span]]
    observations: Mapping[str, list[list[Span]]]

    @property
    def lengths(self) -> np.ndarray:
        """[E] steps of each episode, which are those of its actions."""
        return np.array([len(span) for span in self.actions[0]], np.int64)


@register("reader", "mapping")
@dataclass(frozen=True)
class ArrayMapping(Reader):
    """observations: the policy's key -> the array's path; actions: the path of the actions. A list of paths is joined.
    Paths are those in the file, or in the group of an episode; a `*` in one stands for the episode. episodes: how they
    are told apart (see `isd_policy.data.episodes`); empty: found by itself.
    """

    kind: ClassVar[str] = "arrays by a mapping"
    surplus: ClassVar[int] = 0
    """Steps by which an episode has more observations than actions, at its end."""

    observations: dict[str, Arrays] = field(default_factory=dict)
    actions: Arrays | None = None
    episodes: list[str] = field(default_factory=list)

    def read(self, path: Path, options: ReadOptions) -> Demonstrations:
        """Raises `InputError` for keys that are not mapped, arrays that are not there, lengths and sizes that differ,
        episodes without steps, and what is no finite number or picture of bytes.
        """
        check_no_choice(path, options, f"a file of {self.kind}")
        with opened(path, options.external) as tree:
            plan = self._plan(tree)
            keys = chosen_keys(path, options, plan.observations)
            return Demonstrations(
                observations={key: self._observation(tree, plan, key, options) for key in keys},
                actions=_numbers(tree, plan.actions, ACTIONS, plan.names),
                lengths=plan.lengths,
                names=plan.names,
                env_args=self.env_args(tree),
                source=str(path),
            )

    def describe(self, path: Path, external: bool = False) -> Description:
        with opened(path, external) as tree:
            plan = self._plan(tree)
            return Description(
                path=path,
                kind=self.kind,
                lengths=plan.lengths,
                names=plan.names,
                observations={key: _shape(tree, parts, key) for key, parts in plan.observations.items()},
                actions={ACTIONS: _shape(tree, plan.actions, ACTIONS)[0]},
                env_args=self.env_args(tree),
                external=external,
            )

    def mapped(self, tree: Tree) -> tuple[Mapping[str, Arrays], Arrays, Sequence[str]]:
        """Observations, actions and episodes of this file; `InputError` where the mapping does not say them."""
        if not self.observations or self.actions is None:
            absent = "dataset.observations={state: PATH}" if not self.observations else "dataset.actions=PATH"
            raise InputError(f"{tree.path}: which arrays are what has to be said: {absent}. It holds {tree.listed()}.")
        return self.observations, self.actions, self.episodes

    def env_args(self, tree: Tree) -> dict[str, Any] | None:
        """The environment that the file names, if its format does."""
        return None

    def _plan(self, tree: Tree) -> Plan:
        observations, actions, episodes = self.mapped(tree)
        parts = _listed(actions)
        others = [array for value in observations.values() for array in _listed(value)]
        division = divide(tree, parts[0], others, episodes)
        plan = Plan(
            division.names,
            [division.spans(tree, array, "the array of actions") for array in parts],
            {
                key: [division.spans(tree, array, f"the observation `{key}`") for array in _listed(value)]
                for key, value in observations.items()
            },
        )
        self._check_lengths(tree, plan, bool(division.ends))
        return plan

    def _check_lengths(self, tree: Tree, plan: Plan, joined: bool) -> None:
        for name, length in zip(plan.names, plan.lengths.tolist(), strict=True):
            if not length:
                raise InputError(f"{tree.path}: the episode {name} has no steps. Leave it out of the file.")
        surplus = 0 if joined else self.surplus
        for key, parts in {"actions": plan.actions, **plan.observations}.items():
            more = surplus if key != "actions" else 0
            for spans in parts:
                for span, length in zip(spans, plan.lengths.tolist(), strict=True):
                    if len(span) != length + more:
                        raise InputError(
                            f"{tree.path}: {span.array} (`{key}`) has {len(span)} steps, and the actions of that "
                            f"episode have {length}{f'; expected {length + more}' if more else ''}. Every step needs "
                            "an observation and an action."
                        )

    def _observation(self, tree: Tree, plan: Plan, key: str, options: ReadOptions) -> Rows:
        parts = [
            [
                Span(span.array, span.begin, span.begin + length)
                for span, length in zip(spans, plan.lengths, strict=True)
            ]
            for spans in plan.observations[key]
        ]
        node = tree.arrays[parts[0][0].array]
        if node.dtype == np.uint8 and len(node.shape) == 4:
            return _pictures(tree, parts, key, plan, options)
        return _numbers(tree, parts, key, plan.names)


def _listed(arrays: Arrays) -> list[str]:
    return [arrays] if isinstance(arrays, str) else list(arrays)


def _shape(tree: Tree, parts: Sequence[Sequence[Span]], key: str) -> tuple[int, ...]:
    """The shape of a step, as it is read."""
    node = tree.arrays[parts[0][0].array]
    if node.dtype == np.uint8 and len(node.shape) == 4:
        shape = tuple(node.shape[1:])
        return (*shape[1:], shape[0]) if _channels_first(shape) else shape
    return (sum(int(np.prod(tree.arrays[spans[0].array].shape[1:])) for spans in parts),)


def _numbers(tree: Tree, parts: Sequence[Sequence[Span]], key: str, names: Sequence[str]) -> np.ndarray:
    """[N, d] float32, the joined arrays of all episodes."""
    return np.concatenate([_column(tree, spans, key, names) for spans in parts], axis=1)


def _column(tree: Tree, spans: Sequence[Span], key: str, names: Sequence[str]) -> np.ndarray:
    found: list[np.ndarray] = []
    for span, name in zip(spans, names, strict=True):
        node = tree.arrays[span.array]
        if node.dtype.kind not in "fiub" or len(node.shape) not in (1, 2):
            raise InputError(
                f"{tree.path}: {span.array} (`{key}`) has shape {list(node.shape)} and type {node.dtype}; expected "
                "numbers [steps] or [steps, size], or pictures of bytes [steps, height, width, channels]. Leave it out "
                "of the mapping, or convert it."
            )
        values = tree.rows(span).astype(np.float32).reshape(len(span), -1)
        if found and values.shape[1] != found[0].shape[1]:
            raise InputError(
                f"{tree.path}: {span.array} (`{key}`) has {values.shape[1]} numbers a step in {name} and "
                f"{found[0].shape[1]} in {names[0]}; all episodes of a file must agree."
            )
        found.append(finite(values, f"{tree.path}: {span.array} (`{key}`) of {name}"))
    return np.concatenate(found)


def _channels_first(shape: Sequence[int]) -> bool:
    return shape[0] in CHANNELS and shape[-1] not in CHANNELS


def _pictures(tree: Tree, parts: Sequence[Sequence[Span]], key: str, plan: Plan, options: ReadOptions) -> Rows:
    """[N, H, W, C] bytes; pictures with their channels first are turned."""
    if len(parts) > 1:
        raise InputError(f"{tree.path}: the observation `{key}` joins pictures; give each camera a key of its own.")
    shapes: dict[tuple[int, ...], str] = {}
    for span, name in zip(parts[0], plan.names, strict=True):
        shapes.setdefault(tree.arrays[span.array].shape[1:], name)
    if len(shapes) > 1:
        words = " and ".join(f"{list(shape)} in {name}" for shape, name in list(shapes.items())[:2])
        raise InputError(f"{tree.path}: the pictures of `{key}` are {words}; all episodes of a file must agree.")
    turned = _channels_first(next(iter(shapes)))
    shape = (int(plan.lengths.sum()), *_shape(tree, parts, key))

    def upright(values: np.ndarray) -> np.ndarray:
        return np.moveaxis(values, 1, -1) if turned else values

    if not fits_in_memory(int(np.prod(shape)), options.pictures):
        read = RowsOfTree(tree.path, parts[0], options.external)
        return RowsOnDisk(lambda first, end: upright(read(first, end)), shape)
    out, begin = np.empty(shape, np.uint8), 0
    for span in parts[0]:
        out[begin : begin + len(span)] = upright(tree.rows(span))
        begin += len(span)
    return out
