"""The self-check of the compiled engine against robosuite's own step, once for each machine and setting.

What is remembered lies in `$ISD_CACHE` (default: `$XDG_CACHE_HOME/isd` or `~/.cache/isd`); a change of the versions,
the processor, the settings or this package's code asks for a new check.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.machine import processor
from isd_envs.engines.compiled.engine import CompiledEngine
from isd_envs.engines.engine import Observation
from isd_envs.engines.robosuite_engine import RobosuiteEngine
from isd_envs.spec import EnvSpec

SEEDS = (1, 2)
STEPS = 20
TOLERANCE = {"exact": 1e-9, "fast": 1e-5}
"""How far the engines may be apart (m, rad, rad/s) after the check's steps: `exact` where another BLAS breaks bit
equality, `fast` by rounding, which contacts amplify and quaternions computed in float32 round to 1e-7."""
PACKAGES = ("robosuite", "mujoco", "numba", "llvmlite", "numpy", "scipy")


@dataclass(frozen=True)
class Verdict:
    """The check's outcome. difference: largest |difference| of positions and observations over all steps."""

    mode: str
    equal: bool
    difference: float
    starts_equal: bool
    success_equal: bool

    @property
    def usable(self) -> bool:
        """Whether the engine may stand in for robosuite."""
        return self.starts_equal and self.success_equal and self.difference < TOLERANCE[self.mode]


def random_actions(spec: EnvSpec, observation: Observation, n: int, rng: np.random.Generator) -> np.ndarray:
    """Actions [n, Da]: uniform displacements, or poses around the present one for absolute actions."""
    actions = rng.uniform(-1.0, 1.0, (n, spec.definition.action_size))
    if spec.action_mode == "absolute":
        for robot in range(spec.definition.robots):
            world = observation[f"robot{robot}_eef_pos"]
            centre = world if spec.frame == "world" else np.array([0.5, 0.0, 0.1])
            actions[:, 7 * robot : 7 * robot + 3] = centre + rng.normal(0.0, 0.05, (n, 3))
            turned = np.array([np.pi, 0.0, 0.0])
            actions[:, 7 * robot + 3 : 7 * robot + 6] = turned + rng.normal(0.0, 0.1, (n, 3))
    return actions


def compare(
    compiled: CompiledEngine, reference: RobosuiteEngine, seed: int, actions: np.ndarray | None = None
) -> Verdict:
    """Runs both engines from one seed on the same actions (random ones where none are given)."""
    expected, found = reference.reset(seed), compiled.reset(seed)
    pairs = [(expected[key], found[key]) for key in expected]
    starts_equal = reference.get_start() == compiled.get_start()
    if actions is None:
        actions = random_actions(compiled.spec, expected, STEPS, np.random.default_rng(seed))
    ours, theirs = compiled.run(actions, until_success=False), reference.run(actions, until_success=False)
    if ours.steps != theirs.steps:
        return Verdict(compiled.spec.mode, False, float("inf"), starts_equal, False)
    pairs += [(theirs.observations[key], ours.observations[key]) for key in expected]
    pairs.append((reference.state()[1:], compiled.state()[1:]))
    difference = max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs)
    equal = all(np.array_equal(a, b) for a, b in pairs)
    success_equal = bool(np.array_equal(ours.success, theirs.success))
    return Verdict(compiled.spec.mode, equal, difference, starts_equal, success_equal)


def check(spec: EnvSpec) -> Verdict:
    """The remembered verdict, or a new one. Raises `UnsupportedError` for settings that are not compiled."""
    path = cache_folder() / "parity" / f"{fingerprint(spec)}.json"
    if path.exists():
        try:
            return Verdict(**files.read_json(path)["verdict"])
        except (InputError, KeyError, TypeError):
            path.unlink(missing_ok=True)
    compiled = CompiledEngine(spec)
    reference = RobosuiteEngine(replace(spec, engine="robosuite"))
    verdicts = [compare(compiled, reference, seed) for seed in SEEDS]
    reference.close()
    verdict = Verdict(
        mode=spec.mode,
        equal=all(verdict.equal for verdict in verdicts),
        difference=min(max(verdict.difference for verdict in verdicts), 1e300),
        starts_equal=all(verdict.starts_equal for verdict in verdicts),
        success_equal=all(verdict.success_equal for verdict in verdicts),
    )
    try:
        files.write_json(path, {"spec": spec.to_dict(), "machine": decisive(), "verdict": asdict(verdict)})
    except OSError:
        return verdict  # a machine without a writable cache checks again in the next process
    return verdict


def cache_folder() -> Path:
    """Where the package remembers things about this machine."""
    if folder := os.environ.get("ISD_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isd"


def fingerprint(spec: EnvSpec) -> str:
    """Names a setting on a machine with these versions and this code."""
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source.update(path.read_bytes())
    known = {"spec": replace(spec, engine="compiled").to_dict(), "machine": decisive(), "source": source.hexdigest()}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:24]


def decisive() -> dict[str, str]:
    """Processor and versions of what decides the bits."""
    return {"processor": processor(), "system": platform.platform()} | {name: version(name) for name in PACKAGES}
