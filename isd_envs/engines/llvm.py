"""Two LLVMs in one process: OSMesa's and Triton's.

OSMesa brings the system's LLVM and shows its symbols to every library loaded later. Triton, which PyTorch's optimisers
load, has an LLVM of its own and crashes the process then; loaded before OSMesa, it does not. MuJoCo loads OSMesa when
it is imported with MUJOCO_GL=osmesa, or when the first picture is drawn.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys


def load_triton_before_osmesa() -> None:
    """Imports Triton, where it is installed and OSMesa is not loaded yet."""
    # After OSMesa it is too late: the import would crash the process, so it is left to whoever needs Triton.
    if "mujoco.osmesa" not in sys.modules and importlib.util.find_spec("triton") is not None:
        importlib.import_module("triton")


def prepare() -> None:
    """What has to come before the first import of MuJoCo."""
    if os.environ.get("MUJOCO_GL", "").lower().strip() == "osmesa":
        load_triton_before_osmesa()
