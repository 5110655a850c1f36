"""Resets on one model: the draws of robosuite's hard reset, in its order, without building the model again."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from isd_envs.engines import starts
from isd_envs.engines.compiled.arms import Arms, Memory
from isd_envs.spec import EnvSpec

JOINT_NOISE = 0.02
"""robosuite's standard deviation of the initial joint angles (rad)."""
OUT_OF_SIGHT = np.array([10.0, 10.0, 10.0, 1.0, 0.0, 0.0, 0.0])
"""Where robosuite puts the objects that a single-object task does not use."""


def draw(environment: Any, spec: EnvSpec, model: mujoco.MjModel, arms: Arms, seed: int) -> dict[str, Any]:
    """The start that robosuite's hard reset draws from `seed`.

    `environment` is a robosuite environment of the task; its samplers and its random stream are used. Callers in
    several threads have to take turns.
    """
    rng = environment.rng
    rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    start: dict[str, Any] = {"task": spec.task}
    if spec.task == "lift":
        start["cube_size"] = [rng.uniform(0.020, 0.022) for _ in range(3)]
        environment.cube.size = start["cube_size"]
    elif spec.task == "transport":
        start["hammer_head"] = starts.draw_hammer_head(rng)
        environment.transport.payload.total_size = starts.hammer_half_sizes(start["hammer_head"])
    qpos = model.qpos0.copy()
    for robot, joints, fingers in zip(environment.robots, arms.qpos, arms.finger_qpos, strict=True):
        qpos[joints] = np.array(robot.init_qpos) + rng.standard_normal(len(joints)) * JOINT_NOISE
        qpos[fingers] = robot.gripper["right"].init_qpos
    placements = environment.placement_initializer.sample()
    if spec.task == "transport":
        placements = _into_bins(environment, placements)
    unused = _unused(environment, spec)
    for position, quaternion, thing in placements.values():
        if "visual" not in thing.name.lower():
            place = np.concatenate([np.array(position), np.array(quaternion)])
            qpos[_address(model, thing)] = OUT_OF_SIGHT if thing.name in unused else place
    return start | {"qpos": qpos.tolist(), "qvel": [0.0] * model.nv}


def _into_bins(environment: Any, placements: dict[str, Any]) -> dict[str, Any]:
    """Transport puts the lid on the start bin, the hammer into it and the trash into the target bin."""
    group = environment.transport
    start_bin, target_bin = placements["transport_start_bin"][0], placements["transport_target_bin"][0]
    containers = {
        "transport_start_bin_lid": (start_bin, group.bin_size[2]),
        "payload": (start_bin, group.objects["start_bin"].wall_thickness),
        "trash": (target_bin, group.objects["target_bin"].wall_thickness),
    }
    placed = dict(placements)
    for name, (container, height) in containers.items():
        position, quaternion, thing = placements[name]
        placed[name] = ((container[0], container[1], position[2] + height), quaternion, thing)
    return placed


def _unused(environment: Any, spec: EnvSpec) -> set[str]:
    if spec.task == "can":
        return {thing.name for thing in environment.objects} - {environment.obj_to_use}
    if spec.task == "square":
        return {thing.name for thing in environment.nuts} - {environment.obj_to_use}
    return set()


def _address(model: mujoco.MjModel, thing: Any) -> slice:
    first = model.jnt_qposadr[model.joint(thing.joints[0]).id]
    return slice(first, first + 7)


def apply(
    spec: EnvSpec, model: mujoco.MjModel, data: mujoco.MjData, arms: Arms, memory: Memory, start: dict[str, Any]
) -> None:
    """Puts model, data and the controller's memory into the state after a robosuite reset to `start`.

    robosuite builds its controllers when the arm is in place, the fingers at zero and the objects at their model's
    poses; the mass matrix of that moment serves the first substep, so it is computed alike.
    """
    starts.resize(spec, model, data, start)
    mujoco.mj_resetData(model, data)
    qpos = np.asarray(start["qpos"], np.float64)
    for joints in arms.qpos:
        data.qpos[joints] = qpos[joints]
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_makeM(model, data)
    full = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, full, data.qM)
    for arm in range(len(arms.site)):
        memory.rest[arm] = qpos[arms.qpos[arm]]
        memory.first_mass[arm] = full[np.ix_(arms.dof[arm], arms.dof[arm])]
    memory.fingers[:] = 0.0
    memory.first[0] = 1
    memory.seen[:] = 0.0
    data.qpos[:] = qpos
    data.qvel[:] = np.asarray(start["qvel"], np.float64)
    mujoco.mj_forward(model, data)
