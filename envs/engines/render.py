"""Offscreen pictures with MuJoCo's renderer; imported only where a picture is asked for.

The user's MUJOCO_GL decides how to draw. Where it is not set, EGL is taken on a machine with a graphics device and
OSMesa elsewhere. Pictures are drawn by one thread.
"""

from __future__ import annotations

import atexit
import ctypes.util
import importlib
import os
import sys
import weakref
from pathlib import Path

import mujoco
import mujoco.gl_context
import numpy as np

from envs.engines.llvm import load_triton_before_osmesa
from isd_core.support.errors import InputError

BACKENDS = ("egl", "osmesa", "glfw")
_renderers: weakref.WeakKeyDictionary[mujoco.MjModel, dict[tuple[int, int], mujoco.Renderer]] = (
    weakref.WeakKeyDictionary()
)


@atexit.register
def close() -> None:
    """Frees all renderers; at the end of the program this has to come before Python takes the libraries apart."""
    for of_model in _renderers.values():
        while of_model:
            of_model.popitem()[1].close()


def picture(model: mujoco.MjModel, data: mujoco.MjData, width: int, height: int, camera: str) -> np.ndarray:
    """uint8 [height, width, 3] from a camera of the model. `InputError` names what is missing where it fails."""
    names = [model.camera(index).name for index in range(model.ncam)]
    if camera not in names:
        raise InputError(f"There is no camera {camera!r}; this task has {', '.join(names)}.")
    renderer = _renderer(model, width, height)
    renderer.update_scene(data, camera=camera, scene_option=_visual_only())
    return np.array(renderer.render())


def _visual_only() -> mujoco.MjvOption:
    """robosuite keeps collision meshes in geom group 0 and visual ones in group 1."""
    option = mujoco.MjvOption()
    option.geomgroup[:] = (0, 1, 0, 0, 0, 0)
    return option


def _renderer(model: mujoco.MjModel, width: int, height: int) -> mujoco.Renderer:
    of_model = _renderers.setdefault(model, {})
    if (width, height) not in of_model:
        chosen = backend()
        try:
            if chosen == "osmesa":
                load_triton_before_osmesa()
            if chosen in BACKENDS:
                mujoco.gl_context.GLContext = importlib.import_module(f"mujoco.{chosen}").GLContext
            model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
            model.vis.global_.offheight = max(height, model.vis.global_.offheight)
            of_model[width, height] = mujoco.Renderer(model, height, width)
        except Exception as error:
            raise InputError(
                f"MuJoCo cannot render offscreen with {chosen} ({type(error).__name__}: {error}). Without a GPU "
                "install OSMesa (Debian and Ubuntu: apt-get install libosmesa6) and set MUJOCO_GL=osmesa; with an "
                "NVIDIA GPU install libegl1 and set MUJOCO_GL=egl."
            ) from error
    return of_model[width, height]


def backend(devices: Path = Path("/dev")) -> str:
    """What to draw with, as MUJOCO_GL names it."""
    if chosen := os.environ.get("MUJOCO_GL", "").lower().strip():
        return chosen
    if sys.platform != "linux":
        return "default"
    device = any((devices / "dri").glob("renderD*")) or (devices / "nvidia0").exists()
    return "egl" if device and ctypes.util.find_library("EGL") else "osmesa"
