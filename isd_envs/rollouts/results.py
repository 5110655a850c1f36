"""The executed actions of an evaluation beside its result file, so that any episode can be repeated without the policy.

`FILE.json` holds the environment, the starts and the verdicts; `FILE.actions.npz` holds, for each label (an NFE),
`<label>/steps` [E] and `<label>/actions` [sum of steps, Da].
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_envs.rollouts.rollout import Episode
from isd_envs.spec import Spec, spec_from_dict


def actions_path(results: Path) -> Path:
    """`runs/eval.json` -> `runs/eval.actions.npz`."""
    return results.with_name(results.stem + ".actions.npz")


def save_actions(results: Path, runs: Mapping[str, Sequence[Episode]]) -> Path:
    """Writes the executed actions of each label's episodes beside the result file and returns their path."""
    arrays: dict[str, np.ndarray] = {}
    for label, episodes in runs.items():
        arrays[f"{label}/steps"] = np.array([episode.steps for episode in episodes])
        arrays[f"{label}/actions"] = np.concatenate([episode.actions for episode in episodes])
    path = actions_path(results)
    with files.atomic_write(path) as temporary:
        np.savez(temporary, **arrays)
    return path


@dataclass(frozen=True)
class StoredEpisode:
    """One episode to execute again: actions [steps, Da]. stem: of its files; success: as recorded."""

    index: int
    stem: str
    caption: str
    start: dict[str, Any]
    success: bool
    actions: np.ndarray


@dataclass(frozen=True)
class StoredResults:
    """A result file: the environment that made it, and its episodes by label."""

    spec: Spec
    episodes: dict[str, list[StoredEpisode]]


def load_results(results: Path) -> StoredResults:
    """Reads a result file and its actions. Raises `InputError` where they are absent, damaged or do not fit."""
    content = files.read_json(results)
    try:
        fields = dict(content["protocol"]["environment"])
        verdicts = {label: run["episodes"] for label, run in content["results"].items()}
        starts = content["starts"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{results} is no result file of an evaluation: it has no {error}.") from error
    path = actions_path(results)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; the evaluation writes it beside {results.name}.") from error
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({error}). Run the evaluation again.") from error
    episodes = {}
    for label, of_label in verdicts.items():
        steps = arrays.get(f"{label}/steps", np.zeros(0, int))
        if len(steps) != len(of_label) or len(of_label) > len(starts):
            raise InputError(f"{path} belongs to another evaluation than {results}. Run the evaluation again.")
        parts = np.split(arrays[f"{label}/actions"], np.cumsum(steps)[:-1])
        episodes[label] = [
            StoredEpisode(
                int(verdict["index"]),
                f"nfe{label}_episode{verdict['index']:04d}",
                f"episode {verdict['index']}, {label} NFE",
                starts[verdict["index"]],
                bool(verdict["success"]),
                actions,
            )
            for verdict, actions in zip(of_label, parts, strict=True)
        ]
    return StoredResults(spec_from_dict(fields), episodes)
