"""Starts of episodes: the state after a reset, as plain numbers, and how to put a model into it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np

from isd_core.support.errors import InputError
from isd_envs.engines.engine import State
from isd_envs.spec import EnvSpec

CUBE_BODY = "cube_main"
CUBE_DENSITY = 1000.0
"""robosuite's density of the cube (kg/m^3)."""


def read(spec: EnvSpec, model: mujoco.MjModel, data: mujoco.MjData) -> dict[str, Any]:
    """The start {task, qpos, qvel} with the model's parameters.

    Those are `cube_size` (half edges of Lift's cube, m) and `hammer_head` (half the edge of Transport's hammer, m).
    """
    start = {"task": spec.task, "qpos": data.qpos.tolist(), "qvel": data.qvel.tolist()}
    if spec.task == "lift":
        start["cube_size"] = cube_size(model).tolist()
    elif spec.task == "transport":
        start["hammer_head"] = [hammer_head(model)]
    return start


def check(spec: EnvSpec, model: mujoco.MjModel, start: State) -> dict[str, Any]:
    """A copy of `start`, checked against the model; raises `InputError` where it does not fit."""
    if start.get("task", spec.task) != spec.task:
        raise InputError(f"The start belongs to the task {start['task']!r}, but the environment is {spec.task!r}.")
    parameters = {"lift": {"cube_size": 3}, "transport": {"hammer_head": 1}}.get(spec.task, {})
    needed = {"qpos": model.nq, "qvel": model.nv} | parameters
    checked: dict[str, Any] = {"task": spec.task}
    for key, size in needed.items():
        values = np.asarray(start.get(key, ()), np.float64)
        if values.shape != (size,) or not np.isfinite(values).all():
            raise InputError(
                f"The start's `{key}` has shape {values.shape}; {spec.task} needs {size} finite numbers. "
                "A start is what `env.unwrapped.get_start()` returns."
            )
        checked[key] = values.tolist()
    for key in parameters:
        if not min(checked[key]) > 0:
            raise InputError(f"The start's {key} is {checked[key]}; lengths in metres must be positive.")
    return checked


def cube_size(model: mujoco.MjModel) -> np.ndarray:
    """Half edges of Lift's cube, [3] in metres."""
    return model.geom_size[model.body_geomadr[model.body(CUBE_BODY).id]].copy()


def resize(spec: EnvSpec, model: mujoco.MjModel, data: mujoco.MjData, start: State) -> None:
    """Gives Lift's cube or Transport's hammer the start's size; leaves the other tasks alone."""
    if spec.task == "lift":
        set_cube_size(model, data, np.asarray(start["cube_size"], np.float64))
    elif spec.task == "transport":
        set_hammer_head(model, data, start["hammer_head"][0])


def set_cube_size(model: mujoco.MjModel, data: mujoco.MjData, size: np.ndarray) -> None:
    """Makes every field of the model what a compilation with this cube would make it. size: half edges [3] (m).

    MuJoCo derives bounding volumes, mass and inertia from the size at compilation, so they are set alike here.
    """
    body = model.body(CUBE_BODY).id
    geoms = _geoms(model, body)
    model.geom_size[geoms] = size
    model.geom_rbound[geoms] = np.sqrt(size[0] * size[0] + size[1] * size[1] + size[2] * size[2])
    model.geom_aabb[geoms, 3:] = size
    model.bvh_aabb[_volumes(model, body), 3:] = size
    mass = CUBE_DENSITY * (size[0] * size[1] * size[2] * 8)
    squares = [size[1] ** 2 + size[2] ** 2, size[0] ** 2 + size[2] ** 2, size[0] ** 2 + size[1] ** 2]
    model.body_mass[body] = mass
    model.body_inertia[body] = mass * np.array(squares) / 3
    mujoco.mj_setConst(model, data)


HAMMER_HANDLE = {"handle_radius": 0.015, "handle_length": 0.20, "handle_density": 150.0, "handle_friction": 4.0}
"""Transport's hammer (m, kg/m^3); only its head is drawn anew at each reset."""
HAMMER_BODY = "payload_root"


def draw_hammer_head(rng: np.random.Generator) -> list[float]:
    """Half the edge of the hammer's head, [1] in metres, with the draws of robosuite's HammerObject."""
    for fixed in HAMMER_HANDLE.values():
        rng.uniform(fixed, fixed)
    radius = HAMMER_HANDLE["handle_radius"]
    return [rng.uniform(radius, radius * 1.2)]


def hammer_half_sizes(head: list[float]) -> np.ndarray:
    """Half the hammer's bounding box [3] (m), which its placement uses."""
    return np.array((3.2 * head[0], head[0], HAMMER_HANDLE["handle_length"] + 2 * head[0])) / 2.0


def hammer_head(model: mujoco.MjModel) -> float:
    """Half the edge of the hammer's head (m)."""
    return float(model.geom_size[model.geom("payload_head").id][1])


def set_hammer_head(model: mujoco.MjModel, data: mujoco.MjData, head: float) -> None:
    """Makes every field of the model what a compilation with this hammer would make it.

    The hammer alone is compiled (a millisecond), and its fields are copied. head: half the edge of its head (m).
    """
    body = model.body(HAMMER_BODY).id
    alone = _hammer_model(head)
    only = alone.body(HAMMER_BODY).id
    for field in ("body_mass", "body_inertia", "body_ipos", "body_iquat"):
        getattr(model, field)[body] = getattr(alone, field)[only]
    ours, theirs = _geoms(model, body), _geoms(alone, only)
    for field in ("geom_size", "geom_pos", "geom_rbound", "geom_aabb"):
        getattr(model, field)[ours] = getattr(alone, field)[theirs]
    model.bvh_aabb[_volumes(model, body)] = alone.bvh_aabb[_volumes(alone, only)]
    mujoco.mj_setConst(model, data)


def _geoms(model: mujoco.MjModel, body: int) -> slice:
    return slice(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body])


def _volumes(model: mujoco.MjModel, body: int) -> slice:
    return slice(model.body_bvhadr[body], model.body_bvhadr[body] + model.body_bvhnum[body])


class _Fixed:
    """Stands in for a random stream: fixed values stay, the one that has a range becomes `value`."""

    def __init__(self, value: float) -> None:
        self.value = value

    def uniform(self, low: float, high: float) -> float:
        return self.value if high > low else low


def _hammer_model(head: float) -> mujoco.MjModel:
    """A model of nothing but the hammer, with the compiler settings of robosuite's scenes."""
    from robosuite.models.objects import HammerObject

    hammer = HammerObject(name="payload", head_density_ratio=1.5, rng=_Fixed(head), **HAMMER_HANDLE)
    root = ElementTree.Element("mujoco")
    ElementTree.SubElement(root, "compiler", angle="radian", inertiagrouprange="0 0")
    body = hammer.get_obj()
    for geom in body.iter("geom"):
        geom.attrib.pop("material", None)
    ElementTree.SubElement(root, "worldbody").append(body)
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))


def in_xml(spec: EnvSpec, xml: str, model: mujoco.MjModel) -> str:
    """The task's XML with the sizes and places of `model` in the object that a start changes."""
    changed = {"lift": CUBE_BODY, "transport": HAMMER_BODY}.get(spec.task)
    if changed is None:
        return xml
    root = ElementTree.fromstring(xml)
    geoms = {geom.get("name"): geom for geom in root.iter("geom")}
    body = model.body(changed).id
    for index in range(_geoms(model, body).start, _geoms(model, body).stop):
        geom = geoms[model.geom(index).name]
        geom.set("size", _numbers(model.geom_size[index]))
        if changed == HAMMER_BODY:
            geom.set("pos", _numbers(model.geom_pos[index]))
    return ElementTree.tostring(root, encoding="unicode")


def _numbers(values: np.ndarray) -> str:
    return " ".join(map(repr, values.tolist()))
