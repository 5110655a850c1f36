"""Public names of a package that are imported when they are first used, so that importing the package costs nothing."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ROOT / "isd_core" / "configs"
"""Where the wheel has the configs: inside a package, so that a project's own `configs` is never in their way."""
CONFIGS = INSTALLED if INSTALLED.is_dir() else ROOT / "configs"


def exports(
    package: str, otherwise: Callable[[str], Any] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package.

    Its public names are those that its `__init__.py` imports under `if TYPE_CHECKING:`, as `from module import name as
    name`: type checkers and editors read the same lines. otherwise: what gives a name that is not among them; it raises
    `AttributeError` for an unknown one.
    """
    homes = _homes(Path(str(sys.modules[package].__file__)))

    def get(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(homes[name]), name)
        elif otherwise is not None and not name.startswith("_"):
            value = otherwise(name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)  # the next use finds it at once
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names, sorted(homes)


def _homes(source: Path) -> dict[str, str]:
    """Name -> module, of the imports under `if TYPE_CHECKING:`."""
    return {
        alias.asname or alias.name: str(node.module)
        for branch in ast.parse(source.read_text()).body
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
