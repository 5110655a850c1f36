"""Virtual environments that see chosen packages of this one: quick to make, and nothing is downloaded."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement


def closure(names):
    """The distributions `names` and everything that they require here, without extras."""
    found, todo = {}, list(names)
    while todo:
        name = todo.pop()
        if name.lower() in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a requirement of another platform
        found[name.lower()] = distribution
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return list(found.values())


def make(folder: Path, *names: str) -> Path:
    """A new environment in which the distributions `names` and their requirements are visible; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    for distribution in closure(names):
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    return folder / "bin" / "python"


def install(python: Path, wheel: Path) -> None:
    """Installs a wheel, and nothing that it requires."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True, text=True)


def build(source: Path, out: Path) -> Path:
    """The wheel of the project in `source`."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(out.glob("*.whl"))


def answer(python: Path, code: str, cwd: Path, timeout: float = 120) -> str:
    """What `code` prints in that environment, in an empty folder."""
    result = subprocess.run(
        [str(python), "-I", "-c", code], capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
