"""Engines are slow to build, so the tests of a session share them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from isd_envs.engines.robosuite_engine import RobosuiteEngine

WITHOUT_SIMULATOR = (
    "test_statistics.py",
    "test_spec.py",
    "test_hdf5.py",
    "test_env_args.py",
    "test_object_layouts.py",
    "test_collecting.py",
    "test_gym_spec.py",
    "test_gym_engine.py",
    "test_gym_rollout.py",
    "test_suites.py",
    "test_suite_experts.py",
)


sys.path.append(str(Path(__file__).parent / "importable"))
"""Simulation processes import modules from there too, which they cannot from the tests' own."""


def pytest_ignore_collect(collection_path: object) -> bool | None:
    """Leaves out the tests that simulate where the extra `sim` is not installed."""
    name = getattr(collection_path, "name", "")
    simulates = name.startswith("test_") and name not in WITHOUT_SIMULATOR
    return True if simulates and importlib.util.find_spec("robosuite") is None else None


@pytest.fixture(scope="session")
def lift() -> Iterator[RobosuiteEngine]:
    """robosuite's own Lift."""
    from isd_envs.engines.robosuite_engine import RobosuiteEngine
    from isd_envs.spec import EnvSpec

    engine = RobosuiteEngine(EnvSpec(task="lift", engine="robosuite"))
    yield engine
    engine.close()


@pytest.fixture(scope="session", autouse=True)
def _verdicts_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The compiled engine's self-checks run anew, and leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
