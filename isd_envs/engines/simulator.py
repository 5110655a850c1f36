"""robosuite, imported quietly and only when it is needed."""

from __future__ import annotations

import contextlib
import logging
import sys
import types
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_envs.isolation import kept_environment, no_warnings
from isd_envs.spec import EnvSpec

ROBOSUITE_VERSIONS = ("1.5.2",)
MUJOCO_VERSIONS = ("3.3.",)
ROBOSUITE_LOGGER = "robosuite_logs"


def check_versions() -> dict[str, str]:
    """Versions of robosuite and MuJoCo; raises `InputError` where they are absent or known not to work together."""
    found = {}
    for package, known in (("robosuite", ROBOSUITE_VERSIONS), ("mujoco", MUJOCO_VERSIONS)):
        try:
            found[package] = version(package)
        except PackageNotFoundError as error:
            raise InputError(
                f"The package {package} is not installed, and simulation needs it. "
                "Install this project with its simulation extra: pip install 'isd-flow[sim]'."
            ) from error
        if not found[package].startswith(known):
            raise InputError(
                f"{package} {found[package]} is installed; the environments are verified with {package} "
                f"{' or '.join(name.rstrip('.') for name in known)} only (robosuite 1.5.2 fails at reset with newer "
                "MuJoCo). Install the versions of constraints.txt."
            )
    return found


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Silences robosuite's logger and Python's warnings within the block."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger(ROBOSUITE_LOGGER)
    with no_warnings():
        logger.addFilter(nothing)  # not the level, which robosuite sets when it is imported
        try:
            yield
        finally:
            logger.removeFilter(nothing)


def robosuite() -> types.ModuleType:
    """The robosuite module. Its notices (private macros, optional packages, controller files) are dropped."""
    if "robosuite" not in sys.modules:
        check_versions()
        # Its import sets MUJOCO_GL=egl, which would decide the renderer on machines without a graphics device.
        with silence(), kept_environment():
            import robosuite  # noqa: F401
    return sys.modules["robosuite"]


def make(spec: EnvSpec, **overrides: Any) -> Any:
    """robosuite's own environment for `spec`. `overrides` are further arguments of `robosuite.make`."""
    arguments = spec.robosuite_arguments | overrides
    module = robosuite()
    with silence():
        return module.make(spec.definition.robosuite_name, **arguments)


def seed(environment: Any, value: int) -> None:
    """Sets robosuite's random stream, from which its next reset draws (`np.random.seed` would do nothing)."""
    environment.rng.bit_generator.state = np.random.default_rng(value).bit_generator.state


def observation(raw: Mapping[str, Any], keys: Mapping[str, int]) -> dict[str, np.ndarray]:
    """robosuite's observation under robomimic's names: float64 vectors of the lengths in `keys`."""
    named = {key: raw["object-state" if key == "object" else key] for key in keys}
    return {key: np.asarray(value, np.float64).reshape(keys[key]).copy() for key, value in named.items()}
