"""What the compiled controller knows of the robot arms: indices, gains and limits, and the state it keeps."""

from __future__ import annotations

from typing import Any, NamedTuple

import mujoco
import numpy as np

JOINTS = 7


class UnsupportedError(Exception):
    """robosuite's environment has a setting that the compiled engine does not know; the message names it."""


class Arms(NamedTuple):
    """Constants of A arms; every array has the arm as its first axis.

    site, base, hand: ids of the grip site, the site of the controller's origin and the hand's body [A].
    qpos, dof, actuator: indices of the joints in qpos, qvel and ctrl [A, 7]; mass_address: of their rows in qM [A, 7].
    finger_qpos, finger_dof, finger_actuator: the same for the gripper [A, 2].
    kp, kd: stiffness (1/s^2) and damping (1/s) [A, 6]. in_low .. out_high: the scaling of actions [A, 6].
    torque_low, torque_high (N m) [A, 7]; finger_low, finger_high: control range [A, 2]; finger_speed [A].
    """

    site: np.ndarray
    base: np.ndarray
    hand: np.ndarray
    qpos: np.ndarray
    dof: np.ndarray
    actuator: np.ndarray
    mass_address: np.ndarray
    finger_qpos: np.ndarray
    finger_dof: np.ndarray
    finger_actuator: np.ndarray
    kp: np.ndarray
    kd: np.ndarray
    in_low: np.ndarray
    in_high: np.ndarray
    out_low: np.ndarray
    out_high: np.ndarray
    torque_low: np.ndarray
    torque_high: np.ndarray
    finger_low: np.ndarray
    finger_high: np.ndarray
    finger_speed: np.ndarray


class Memory(NamedTuple):
    """What the controller and the observations remember between steps.

    rest: joint angles at the start, the null space's goal [A, 7] (rad). fingers: the gripper's integrated command
    [A, 2]. first: 1 before the episode's first substep [1], in which robosuite uses the mass matrix of the
    controller's construction, first_mass [A, 7, 7]. seen: poses of the objects at the last observation [K, 7]
    (position, quaternion xyzw), to which robosuite's relative poses refer.
    """

    rest: np.ndarray
    fingers: np.ndarray
    first: np.ndarray
    first_mass: np.ndarray
    seen: np.ndarray


def new_memory(arms: int, objects: int) -> Memory:
    """Zeros."""
    return Memory(
        rest=np.zeros((arms, JOINTS)),
        fingers=np.zeros((arms, 2)),
        first=np.zeros(1, np.int64),
        first_mass=np.zeros((arms, JOINTS, JOINTS)),
        seen=np.zeros((objects, 7)),
    )


def read_arms(environment: Any) -> Arms:
    """The arms of a robosuite environment. Raises `UnsupportedError` for settings that are not compiled."""
    model = environment.sim.model._model
    rows = [_read_arm(robot, model) for robot in environment.robots]
    return Arms(**{field: np.array([row[field] for row in rows]) for field in Arms._fields})


def _read_arm(robot: Any, model: mujoco.MjModel) -> dict[str, Any]:
    controller = robot.part_controllers["right"]
    gripper = robot.gripper["right"]
    _check(robot, controller, gripper, model)
    actuator = np.array(robot._ref_actuators_indexes_dict["right"])
    finger_actuator = np.array(robot._ref_actuators_indexes_dict["right_gripper"])
    dof = np.array(controller.qvel_index)
    limits = model.actuator_ctrlrange
    return {
        "site": model.site(controller.ref_name).id,
        "base": model.site(f"{controller.naming_prefix}right_center").id,
        "hand": model.body(robot.robot_model.eef_name["right"]).id,
        "qpos": np.array(controller.qpos_index),
        "dof": dof,
        "actuator": actuator,
        "mass_address": model.dof_Madr[dof].astype(np.int64),
        "finger_qpos": np.array(robot._ref_gripper_joint_pos_indexes["right"]),
        "finger_dof": np.array(robot._ref_gripper_joint_vel_indexes["right"]),
        "finger_actuator": finger_actuator,
        "kp": np.asarray(controller.kp, np.float64),
        "kd": np.asarray(controller.kd, np.float64),
        "in_low": np.asarray(controller.input_min, np.float64),
        "in_high": np.asarray(controller.input_max, np.float64),
        "out_low": np.asarray(controller.output_min, np.float64),
        "out_high": np.asarray(controller.output_max, np.float64),
        "torque_low": limits[actuator, 0],
        "torque_high": limits[actuator, 1],
        "finger_low": limits[finger_actuator, 0],
        "finger_high": limits[finger_actuator, 1],
        "finger_speed": float(gripper.speed),
    }


def _check(robot: Any, controller: Any, gripper: Any, model: mujoco.MjModel) -> None:
    requirements = {
        "one arm per robot": list(robot.arms) == ["right"],
        "the BASIC composite controller": robot.composite_controller.name == "BASIC",
        "parts right and right_gripper": list(robot.part_controllers) == ["right", "right_gripper"],
        "the OSC_POSE controller": controller.name == "OSC_POSE",
        "fixed impedance": controller.impedance_mode == "fixed",
        "uncoupled position and orientation": bool(controller.uncoupling),
        "no interpolation": controller.interpolator_pos is None and controller.interpolator_ori is None,
        "no position or orientation limits": controller.position_limits is None
        and controller.orientation_limits is None,
        "seven joints": len(controller.qpos_index) == JOINTS,
        "the Panda gripper": type(gripper).__name__ == "PandaGripper",
        "a base that does not move": model.body_weldid[
            model.site_bodyid[model.site(f"{controller.naming_prefix}right_center").id]
        ]
        == 0,
        "joints in one chain": _is_chain(model, np.array(controller.qvel_index)),
        "the Euler integrator": model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER,
    }
    for name, met in requirements.items():
        if not met:
            raise UnsupportedError(f"it needs {name}")


def _is_chain(model: mujoco.MjModel, dof: np.ndarray) -> bool:
    """Whether each joint hangs on the one before it and the first on the world; then qM's rows are read directly."""
    return bool(np.array_equal(model.dof_parentid[dof], np.concatenate([[-1], dof[:-1]])))
