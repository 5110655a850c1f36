"""What the machine has to offer before anything is installed, and what to install where it lacks something.

Standard library only: it runs on the bare Python that the environment is made with.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

GIGABYTE = 10**9
OSMESA = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")


@dataclass(frozen=True)
class Finding:
    """One thing that the machine lacks. `package` is its Debian package; a finding that is not `fatal` only warns."""

    lacks: str
    consequence: str
    package: str = ""
    fatal: bool = True


def has_library(*names: str) -> bool:
    """Whether the dynamic linker finds one of the shared libraries."""
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def check_venv() -> Finding | None:
    """Debian ships Python without ensurepip; a virtual environment cannot be made without it."""
    if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        return None
    return Finding(
        "Python's venv module", "the virtual environment .venv cannot be made", f"python3.{sys.version_info.minor}-venv"
    )


def check_disk(folder: Path, needed: int) -> Finding | None:
    """`needed` bytes must be free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return None
    return Finding(
        f"disk space ({free / GIGABYTE:.1f} GB free in {folder}, {needed / GIGABYTE:.0f} GB needed)",
        "the installation would stop half-way; free some space, or set TORCH_INDEX_URL to a smaller build of torch",
    )


def renderer(libraries: Callable[..., bool] = has_library, devices: Path = Path("/dev")) -> str | None:
    """What MuJoCo can draw with off the screen, as MUJOCO_GL names it; None if there is nothing."""
    if has_gpu(devices) and libraries("libEGL.so.1"):
        return "egl"
    return "osmesa" if libraries(*OSMESA) else None


def has_gpu(devices: Path) -> bool:
    """Whether a graphics device is there."""
    return any((devices / "dri").glob("renderD*")) or (devices / "nvidia0").exists()


def check_rendering(libraries: Callable[..., bool] = has_library, devices: Path = Path("/dev")) -> Finding | None:
    """Pictures need a GPU with EGL or, without one, OSMesa, unless MUJOCO_GL names something else."""
    if sys.platform != "linux" or os.environ.get("MUJOCO_GL") or renderer(libraries, devices):
        return None
    if has_gpu(devices):
        return Finding("libEGL", "there will be no pictures of rollouts", "libegl1", fatal=False)
    return Finding("OSMesa (there is no GPU)", "there will be no pictures of rollouts", "libosmesa6", fatal=False)


def check_machine(folder: Path, needed: int) -> list[Finding]:
    """All that is lacking for an installation of `needed` bytes into `folder`."""
    found = [check_venv(), check_disk(folder, needed) if needed else None, check_rendering()]
    return [finding for finding in found if finding]


def describe(findings: Sequence[Finding]) -> str:
    """The findings, one a line, and one command that installs every package they name."""
    lines = [
        f"{'error' if f.fatal else 'note'}: this machine lacks {f.lacks}: {f.consequence}."
        for f in sorted(findings, key=lambda f: not f.fatal)
    ]
    if packages := [f.package for f in findings if f.package]:
        sudo = "" if os.geteuid() == 0 else "sudo "
        lines.append(f"      Debian and Ubuntu: {sudo}apt-get install -y {' '.join(dict.fromkeys(packages))}")
    return "\n".join(lines)


def require(findings: Sequence[Finding]) -> None:
    """Prints the findings and exits with 2 if one of them is fatal."""
    if findings:
        print(describe(findings), file=sys.stderr, flush=True)
    if any(finding.fatal for finding in findings):
        sys.exit(2)
