"""The house: which room may import which, and no circle between files, wherever the import stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("isd_core", "isd_policy", "isd_image", "isd_envs", "scripts")
MAY_IMPORT: dict[str, set[str]] = {
    "isd_core": set(),
    "isd_envs": {"isd_core"},
    "isd_image": {"isd_core"},
    "isd_policy": {"isd_core", "isd_envs"},
    "scripts": {"isd_core", "isd_policy", "isd_image", "isd_envs"},
}


def name_of(path: Path) -> str:
    """`isd_core/paths.py` -> `isd_core.paths`; a package's `__init__.py` has the package's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    return {name_of(path): path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))}


def imported(name: str, tree: ast.AST, known: frozenset[str]) -> Iterator[tuple[str, int]]:
    """(module, line) of every import in a file's tree, at its top and inside functions and classes.

    A name that is no module of this repository stands for the module or package that it is taken from.
    """
    package = name if modules()[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # one dot is the file's own package, each further dot the one above
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in known else base), node.lineno


@cache
def imports() -> dict[str, dict[str, int]]:
    """module -> the modules of this repository that it imports, each with a line."""
    known = frozenset(modules())
    return {
        name: {
            target: line
            for target, line in imported(name, ast.parse(path.read_text(encoding="utf-8")), known)
            if target in known and target != name
        }
        for name, path in modules().items()
    }


def circle(graph: dict[str, dict[str, int]]) -> list[str]:
    """Modules that import each other in a ring, or an empty list."""
    done: set[str] = set()
    trail: list[str] = []

    def visit(name: str) -> list[str]:
        if name in trail:
            return trail[trail.index(name) :]
        if name in done:
            return []
        trail.append(name)
        for target in graph[name]:
            if found := visit(target):
                return found
        trail.pop()
        done.add(name)
        return []

    return next((found for name in graph if (found := visit(name))), [])


def test_the_walk_sees_every_kind_of_import() -> None:
    known = frozenset({"isd_core.paths", "isd_core.times", "isd_core", "isd_core.support"})
    source = (
        "import isd_core.paths\n"
        "from isd_core import times\n"
        "def later():\n"
        "    from . import support\n"
        "    from .support import errors\n"
    )
    found = {target for target, _ in imported("isd_core.flow_map", ast.parse(source), known)}
    assert found == {"isd_core.paths", "isd_core.times", "isd_core.support"}


def test_the_search_finds_a_circle() -> None:
    graph: dict[str, dict[str, int]] = {"a": {"b": 1}, "b": {"c": 1}, "c": {"b": 1}}
    assert circle(graph) == ["b", "c"]
    assert circle({"a": {"b": 1, "c": 2}, "b": {"c": 1}, "c": {}}) == []


def test_no_circle_of_imports() -> None:
    found = circle(imports())
    assert not found, " -> ".join([*found, found[0]])


def test_rooms_import_only_the_rooms_below_them() -> None:
    wrong = [
        f"{name}:{line} imports {target}"
        for name, targets in imports().items()
        for target, line in targets.items()
        if (room := name.partition(".")[0]) != (other := target.partition(".")[0]) and other not in MAY_IMPORT[room]
    ]
    assert not wrong, "\n".join(wrong)
