"""What holds for every test: few threads, no network, and a header that names the versions."""

from __future__ import annotations

import os
from importlib import metadata, util

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

NEEDS = {"sim": "robosuite", "robomimic": "robomimic"}


def pytest_report_header() -> str:
    """The versions that decide results, one line above the tests."""
    names = ("torch", "numpy", "mujoco", "robosuite", "robomimic", "gymnasium")
    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return "versions: " + ", ".join(f"{name} {found.get(name, 'absent')}" for name in names)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need an extra are skipped where it is not installed."""
    absent = {marker for marker, package in NEEDS.items() if util.find_spec(package) is None}
    for item in items:
        for marker in absent & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason=f"needs the extra [{marker}]"))
