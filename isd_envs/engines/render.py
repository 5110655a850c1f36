"""Offscreen pictures with MuJoCo's renderer; imported only where a picture is asked for.

The user's MUJOCO_GL decides how to draw. Where it is not set, EGL is taken on a machine with a graphics device and
OSMesa elsewhere. Pictures are drawn by one thread.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes.util
import importlib
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import mujoco
import mujoco.gl_context
import numpy as np

from isd_core.support.errors import InputError
from isd_envs.engines.llvm import load_triton_before_osmesa
from isd_envs.isolation import kept_environment

BACKENDS = ("egl", "osmesa", "glfw")
# A renderer belongs to the thread that made it (so does its graphics context), and goes with its model: a hard reset of
# robosuite makes a new model, and its old renderers would pile up otherwise.
_renderers: weakref.WeakKeyDictionary[mujoco.MjModel, dict[tuple[int, int], mujoco.Renderer]] = (
    weakref.WeakKeyDictionary()
)


@atexit.register
def close() -> None:
    """Frees all renderers; at the end of the program this has to come before Python takes the libraries apart."""
    for of_model in _renderers.values():
        while of_model:
            of_model.popitem()[1].close()


def picture(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    width: int,
    height: int,
    camera: str,
    shown: mujoco.MjvOption | None = None,
) -> np.ndarray:
    """uint8 [height, width, 3] from a camera of the model. `InputError` names what is missing where it fails.

    shown: what is drawn of the model; None for what robosuite means to be seen.
    """
    names = [model.camera(index).name for index in range(model.ncam)]
    if camera not in names:
        raise InputError(f"There is no camera {camera!r}; this task has {', '.join(names)}.")
    renderer = _renderer(model, width, height)
    renderer.update_scene(data, camera=camera, scene_option=shown or _visual_only())
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
            # The framebuffer's size is part of the model, and is read when the first context is made.
            model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
            model.vis.global_.offheight = max(height, model.vis.global_.offheight)
            with _drawing_with(chosen):
                of_model[width, height] = mujoco.Renderer(model, height, width)
        except Exception as error:
            raise InputError(
                f"MuJoCo cannot render offscreen with {chosen} ({type(error).__name__}: {error}). Without a GPU "
                "install OSMesa (Debian and Ubuntu: apt-get install libosmesa6) and set MUJOCO_GL=osmesa; with an "
                "NVIDIA GPU install libegl1 and set MUJOCO_GL=egl."
            ) from error
    return of_model[width, height]


@contextlib.contextmanager
def _drawing_with(chosen: str) -> Iterator[None]:
    """Has MuJoCo make its contexts by `chosen` within the block.

    MuJoCo decides that once, when it is imported, by MUJOCO_GL; a program that imported it before has no say. Its
    modules set PYOPENGL_PLATFORM, which child processes would inherit and then refuse another choice.
    """
    if chosen not in BACKENDS:
        yield
        return
    before = getattr(mujoco.gl_context, "GLContext", None)
    with kept_environment():
        mujoco.gl_context.GLContext = importlib.import_module(f"mujoco.{chosen}").GLContext
    try:
        yield
    finally:
        if before is None:
            del mujoco.gl_context.GLContext
        else:
            mujoco.gl_context.GLContext = before


def backend(devices: Path = Path("/dev")) -> str:
    """What to draw with, as MUJOCO_GL names it."""
    if chosen := os.environ.get("MUJOCO_GL", "").lower().strip():
        return chosen
    if sys.platform != "linux":
        return "default"
    device = any((devices / "dri").glob("renderD*")) or (devices / "nvidia0").exists()
    return "egl" if device and ctypes.util.find_library("EGL") else "osmesa"
