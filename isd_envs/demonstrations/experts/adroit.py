"""Experts of Adroit from the weights of a trained policy, such as those of the DAPG project (arXiv 1709.10087).

A policy is an .npz file of plain arrays: `layer0.weight` [h, d], `layer0.bias` [h], and so on, tanh between the layers;
`in_shift`, `in_scale` [d] and `out_shift`, `out_scale` [Da] around them. The mean action is taken.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from isd_core.support.errors import InputError
from isd_core.support.registry import register
from isd_envs.demonstrations.experts.base import Expert
from isd_envs.engines.engine import Observation
from isd_envs.suites.adroit import TASKS

SCALE_FLOOR = 1e-8
"""What DAPG adds to the scale of the observation."""
Arrays = dict[str, np.ndarray]


class AdroitExpert(Expert):
    """The mean action of a policy network. file: its weights, an .npz file."""

    noisy = slice(None)

    def __init__(self, noise: float, rng: np.random.Generator, file: str | None = None) -> None:
        super().__init__(noise, rng)
        if file is None:
            raise InputError(
                "The expert of this task is a trained policy, whose weights are yours to give: +expert.file=FILE.npz, "
                "the arrays layer<i>.weight, layer<i>.bias, in_shift, in_scale, out_shift, out_scale."
            )
        self.file = file
        self.arrays, self.layers = read_policy(Path(file).expanduser())

    def decide(self, observation: Observation) -> np.ndarray:
        state, arrays = observation["state"], self.arrays
        if state.shape != arrays["in_shift"].shape:
            raise InputError(
                f"{self.file} is a policy for observations of {len(arrays['in_shift'])} numbers, but this task's have "
                f"{len(state)}. Give the weights of this task."
            )
        hidden = (state - arrays["in_shift"]) / (arrays["in_scale"] + SCALE_FLOOR)
        for layer in range(self.layers):
            hidden = arrays[f"layer{layer}.weight"] @ hidden + arrays[f"layer{layer}.bias"]
            hidden = np.tanh(hidden) if layer < self.layers - 1 else hidden
        action: np.ndarray = hidden * arrays["out_scale"] + arrays["out_shift"]
        return action


@lru_cache(maxsize=8)
def read_policy(path: Path) -> tuple[Arrays, int]:
    """(arrays in float64, number of layers) of a policy's file. Raises `InputError` for another kind of file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key], np.float64) for key in file.files if key != "log_std"}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"expert.file={path} cannot be read as an .npz file of arrays: {error}") from error
    layers = sum(key.endswith(".weight") for key in arrays)
    expected = [f"layer{i}.{part}" for i in range(max(layers, 1)) for part in ("weight", "bias")]
    expected += ["in_shift", "in_scale", "out_shift", "out_scale"]
    if missing := [key for key in expected if key not in arrays]:
        raise InputError(
            f"expert.file={path} lacks {', '.join(missing)}; it has {', '.join(arrays) or 'nothing'}. Expected the "
            "arrays of a policy: layer<i>.weight, layer<i>.bias, in_shift, in_scale, out_shift, out_scale."
        )
    _check_sizes(path, arrays, layers)
    return arrays, layers


def _check_sizes(path: Path, arrays: Arrays, layers: int) -> None:
    """Each layer takes what the one before gives, the first the observation, and the last one gives the action."""
    size = arrays["in_shift"].size
    wanted: dict[str, tuple[int, ...]] = {"in_shift": (size,), "in_scale": (size,)}
    for layer in range(layers):
        weight = arrays[f"layer{layer}.weight"]
        outputs = len(weight) if weight.ndim else 0
        wanted |= {f"layer{layer}.weight": (outputs, size), f"layer{layer}.bias": (outputs,)}
        size = outputs
    wanted |= {"out_shift": (size,), "out_scale": (size,)}
    for key, shape in wanted.items():
        if arrays[key].shape != shape:
            raise InputError(f"expert.file={path}: {key} is {list(arrays[key].shape)}; expected {list(shape)}.")
        if not np.isfinite(arrays[key]).all():
            raise InputError(f"expert.file={path}: {key} holds NaN or infinity.")


for _title in TASKS:
    _members = {"__module__": __name__, "__doc__": f"A policy network for Adroit's {_title}."}
    register("expert", f"adroit/{_title}")(type(f"Adroit{_title.capitalize()}Expert", (AdroitExpert,), _members))
