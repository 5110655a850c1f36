"""Where the episodes of a file of arrays begin and end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isd_core.support.errors import InputError
from isd_policy.data.trees import Span, Tree, natural

KNOWN: tuple[tuple[str, ...], ...] = (
    ("meta/episode_ends",),
    ("episode_ends",),
    ("episode_index",),
    ("terminals", "timeouts"),
    ("terminations", "truncations"),
    ("terminals",),
    ("dones",),
)
"""What is looked for where `dataset.episodes` does not say how episodes are told apart."""
HELP = (
    "Say where episodes end by dataset.episodes: an array of ends, such as [meta/episode_ends]; an array with a number "
    "for every step; flags such as [terminals,timeouts]; or groups, such as [data/demo_*]."
)


@dataclass(frozen=True)
class Division:
    """How a file is divided. Either every episode has arrays of its own, `stars` being what stands for `*` in their
    paths and `group` what comes before them; or all follow each other, and `ends` [E] are the rows after the last.
    """

    names: tuple[str, ...]
    group: str = ""
    stars: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()

    def spans(self, tree: Tree, array: str, what: str) -> list[Span]:
        """The rows of every episode of a mapped array. Raises `InputError` where one is not there."""
        if not self.ends:
            paths = [_joined(self.group, array).replace("*", star) for star in self.stars]
            return [Span(path, 0, tree.node(path, what).shape[0]) for path in paths]
        if "*" in array:
            raise InputError(
                f"{tree.path}: {what} is to be {array}, one array for each episode, but the episodes of this file "
                "follow each other in one array. Map all of them to the one kind or to the other."
            )
        node = tree.node(array, what)
        if node.shape[0] != self.ends[-1]:
            raise InputError(
                f"{tree.path}: {array} has {node.shape[0]} steps, but the episodes end at {self.ends[-1]}. All mapped "
                "arrays must have a row for every step."
            )
        return [Span(array, begin, end) for begin, end in zip((0, *self.ends[:-1]), self.ends, strict=True)]


def divide(tree: Tree, actions: str, others: Sequence[str], episodes: Sequence[str]) -> Division:
    """How the file is divided into episodes. actions, others: the mapped arrays; episodes: the field of that name.

    Raises `InputError` where that cannot be known, and where it does not fit the arrays.
    """
    if len(episodes) == 1 and "*" in episodes[0]:
        return _by_groups(tree, episodes[0], actions, others)
    if episodes:
        return _by_array(tree, actions, episodes)
    if "*" in actions:
        return _by_groups(tree, "", actions, others)
    if actions in tree.arrays:
        steps = tree.arrays[actions].shape[0]
        for names in KNOWN:
            ends = names[0].endswith("_ends")
            if all(name in tree.arrays and (ends or tree.arrays[name].shape[0] == steps) for name in names):
                return _by_array(tree, actions, names)
        raise InputError(f"{tree.path} does not say where its episodes end; it holds {tree.listed()}. {HELP}")
    if groups := [name.removesuffix(f"/{actions}") for name in tree.arrays if name.endswith(f"/{actions}")]:
        pattern = _common(groups)
        if pattern is None:
            raise InputError(
                f"{tree.path} has {actions} in several groups, {', '.join(groups[:3])}, whose names have nothing in "
                f"common. {HELP}"
            )
        return _by_groups(tree, pattern, actions, others)
    wanted = ", ".join(dict.fromkeys((actions, *others)))
    raise InputError(
        f"{tree.path}: the actions are to be {actions}, which is neither an array of the file nor one of its groups' "
        f"(mapped: {wanted}). It holds {tree.listed()}. Map dataset.actions and dataset.observations to what is there."
    )


def _joined(group: str, array: str) -> str:
    return f"{group}/{array}" if group else array


def _by_groups(tree: Tree, group: str, actions: str, others: Sequence[str]) -> Division:
    stars = _stars(tree, pattern := _joined(group, actions))
    if not stars:
        raise InputError(f"{tree.path} has no {pattern}. It holds {tree.listed()}. {HELP}")
    for other in others:
        if without := _stars(tree, wanted := _joined(group, other)) - stars:
            first = min(without, key=natural)
            raise InputError(
                f"{tree.path} has {wanted.replace('*', first)} and no {pattern.replace('*', first)}: that episode has "
                "no actions. Repair it, or leave it out of the file."
            )
    ordered = sorted(stars, key=natural)
    part = next(part for part in pattern.split("/") if "*" in part)
    return Division(tuple(part.replace("*", star) for star in ordered), group, tuple(ordered))


def _stars(tree: Tree, pattern: str) -> set[str]:
    """What `*` stands for in the arrays that a pattern fits."""
    if pattern.count("*") != 1:
        raise InputError(f"{tree.path}: {pattern} has {pattern.count('*')} stars; one stands for the episode.")
    before, after = (re.escape(part) for part in pattern.split("*"))
    return {match[1] for name in tree.arrays if (match := re.fullmatch(f"{before}([^/]*){after}", name))}


def _common(groups: Sequence[str]) -> str | None:
    """The pattern of names such as data/demo_3, with one star for what differs; the name itself for one group."""
    stems = {re.sub(r"\d+$", "*", name) for name in groups}
    if len(stems) == 1 and "*" in (stem := stems.pop()):
        return stem
    parents = {name.rpartition("/")[0] for name in groups}
    return _joined(parents.pop(), "*") if len(parents) == 1 else None


def _by_array(tree: Tree, actions: str, names: Sequence[str]) -> Division:
    steps = tree.node(actions, "the array of actions").shape[0]
    columns = [_column(tree, name) for name in names]
    if len(names) == 1 and not _are_flags(columns[0], steps):
        ends = _ends_of_index(tree, names[0], columns[0], steps)
    else:
        ends = _ends_of_flags(tree, names, columns, steps)
    return Division(tuple(f"episode_{i}" for i in range(len(ends))), ends=tuple(ends.tolist()))


def _column(tree: Tree, name: str) -> np.ndarray:
    node = tree.node(name, "what divides the episodes (dataset.episodes)")
    values = tree.rows(Span(name, 0, node.shape[0]))
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1 or values.dtype.kind not in "biuf" or not len(values):
        raise InputError(
            f"{tree.path}: {name} has shape {list(values.shape)} and type {values.dtype}; expected one number for "
            f"every step or every episode. {HELP}"
        )
    return values


def _are_flags(values: np.ndarray, steps: int) -> bool:
    """Whether an array says for every step if an episode ends there. Numbers of episodes never fall; of numbers that
    are 0 before the last step and 1 there, both readings would be possible, and flags are the likely one.
    """
    if len(values) != steps or not np.isin(values, (0, 1)).all():
        return False
    return values.dtype.kind == "b" or bool((np.diff(values) < 0).any()) or values.sum() <= 1


def _ends_of_flags(tree: Tree, names: Sequence[str], columns: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """Steps after the last flag are an episode whose recording was cut off."""
    ended = np.zeros(steps, bool)
    for name, values in zip(names, columns, strict=True):
        if len(values) != steps:
            raise InputError(f"{tree.path}: {name} has {len(values)} steps and the actions have {steps}. {HELP}")
        if not np.isin(values, (0, 1)).all():
            raise InputError(f"{tree.path}: {name} holds {values.max()}; expected 1 where an episode ends and 0 else.")
        ended |= values.astype(bool)
    ended[-1] = True
    return np.flatnonzero(ended) + 1


def _ends_of_index(tree: Tree, name: str, values: np.ndarray, steps: int) -> np.ndarray:
    """Ends, or starts, of the episodes; or the number of its episode for every step."""
    index = values.astype(np.int64)
    if (index != values).any():
        raise InputError(f"{tree.path}: {name} holds numbers that are not whole. {HELP}")
    rises = np.diff(index)
    if (rises > 0).all() and index[-1] == steps and index[0] > 0:
        return index
    if (rises > 0).all() and index[0] == 0 and index[-1] < steps and len(index) < steps:
        return np.append(index[1:], steps)
    if len(index) == steps and (rises >= 0).all():
        return np.append(np.flatnonzero(rises) + 1, steps)
    empty = np.flatnonzero(np.diff(index, prepend=0) == 0)
    if len(empty) and (rises >= 0).all() and index[-1] == steps:
        raise InputError(f"{tree.path}: by {name}, episode {empty[0]} has no steps. Leave it out of the file.")
    raise InputError(
        f"{tree.path}: {name} goes from {index[0]} to {index[-1]} in {len(index)} entries, and there are {steps} "
        f"steps. Expected the row after each episode's last one, rising to {steps}; each episode's first row, from 0; "
        "or the number of its episode for every step."
    )
