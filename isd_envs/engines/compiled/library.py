"""libmujoco's functions for compiled code, and the memory of a model and its data as arrays.

The functions are bound by name, not by address, so numba can keep the compiled code on disk.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding  # type: ignore[import-untyped]
import mujoco
import numpy as np
from numba import njit, types

_without_entry: Any = {"cache": True, "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner: Any = njit(**_without_entry)
"""For functions that compiled code alone calls: without an entry from Python they compile several times faster."""


def library_path() -> Path:
    """The shared library inside the mujoco wheel."""
    folder = Path(mujoco.__file__).parent
    for pattern in ("libmujoco.so*", "libmujoco*.dylib", "mujoco.dll"):
        for path in sorted(folder.glob(pattern)):
            return path
    raise OSError(f"no libmujoco in {folder}")


llvmlite.binding.load_library_permanently(str(library_path()))

mj_step1: Any = types.ExternalFunction("mj_step1", types.void(types.intp, types.intp))
mj_step2: Any = types.ExternalFunction("mj_step2", types.void(types.intp, types.intp))
mj_jacSite: Any = types.ExternalFunction(  # noqa: N816 (the library's name)
    "mj_jacSite", types.void(types.intp, types.intp, types.intp, types.intp, types.int32)
)

CONTACT_INTS = 144
"""sizeof(mjContact) / sizeof(int) in MuJoCo 3.3."""
CONTACT_GEOM = 133
"""Where `geom[2]` lies in an mjContact, in ints."""
NCON_BEFORE_TIME = 40
"""Bytes from `ncon` to `time` in an mjData of MuJoCo 3.3."""


class Simulation(NamedTuple):
    """A model and its data as compiled code sees them: two addresses, and views of MuJoCo's own memory.

    `contacts` [most contacts, 144] are the raw mjContact records, of which the first `contact_count[0]` are valid.
    """

    model: int
    data: int
    qpos: np.ndarray
    qvel: np.ndarray
    qacc: np.ndarray
    ctrl: np.ndarray
    mass: np.ndarray
    bias: np.ndarray
    site_pos: np.ndarray
    site_mat: np.ndarray
    body_pos: np.ndarray
    body_quat: np.ndarray
    body_mat: np.ndarray
    geom_pos: np.ndarray
    geom_mat: np.ndarray
    contact_count: np.ndarray
    contacts: np.ndarray


def view(model: mujoco.MjModel, data: mujoco.MjData) -> Simulation:
    """Views of the memory of `model` and `data`, which must outlive them.

    Raises `RuntimeError` where MuJoCo's structures are not laid out as expected (another version).
    """
    return Simulation(
        model=model._address,
        data=data._address,
        qpos=data.qpos,
        qvel=data.qvel,
        qacc=data.qacc,
        ctrl=data.ctrl,
        mass=data.qM,
        bias=data.qfrc_bias,
        site_pos=data.site_xpos,
        site_mat=data.site_xmat.reshape(-1, 3, 3),
        body_pos=data.xpos,
        body_quat=data.xquat,
        body_mat=data.xmat.reshape(-1, 3, 3),
        geom_pos=data.geom_xpos,
        geom_mat=data.geom_xmat.reshape(-1, 3, 3),
        contact_count=_contact_count(data),
        contacts=_contacts(data),
    )


def _contact_count(data: mujoco.MjData) -> np.ndarray:
    """`data.ncon` as an int32 [1]; it lies a known number of bytes before `time`, which lies before `energy`."""
    time = data.energy.ctypes.data - 8
    count = np.ctypeslib.as_array((ctypes.c_int32 * 1).from_address(time - NCON_BEFORE_TIME))
    if ctypes.c_double.from_address(time).value != data.time or count[0] != data.ncon:
        raise RuntimeError(f"MuJoCo {mujoco.__version__} lays out mjData differently from 3.3")
    return count


def _contacts(data: mujoco.MjData) -> np.ndarray:
    """The contact buffer, at the start of the data's arena, as int32 [most contacts, 144]."""
    geoms = data.contact.geom
    address = geoms.ctypes.data - 4 * CONTACT_GEOM
    most = data.narena // (4 * CONTACT_INTS)
    raw = np.ctypeslib.as_array((ctypes.c_int32 * (most * CONTACT_INTS)).from_address(address))
    contacts = raw.reshape(most, CONTACT_INTS)
    if not np.array_equal(contacts[: data.ncon, CONTACT_GEOM : CONTACT_GEOM + 2], geoms):
        raise RuntimeError(f"MuJoCo {mujoco.__version__} lays out mjContact differently from 3.3")
    return contacts
