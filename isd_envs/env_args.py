"""The environment that a data file describes (`env_args`), as a spec.

Every setting is honoured, or is one that changes nothing here, or is refused by its name: a setting that is passed over
in silence makes another environment of the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.engines.pusht.spec import PushTSpec
from isd_envs.spec import EnvSpec, Spec
from isd_envs.tasks import FUNCTION, GYM_OF_ROBOMIMIC, GYMNASIUM, PUSHT, RobosuiteTask, task_of_robosuite

WITHOUT_EFFECT = {
    "has_renderer", "has_offscreen_renderer", "render_camera", "render_collision_mesh", "render_visual_mesh",
    "render_gpu_device_id", "renderer", "renderer_config", "use_camera_obs", "camera_names", "camera_heights",
    "camera_widths", "camera_depths", "camera_segmentations", "use_object_obs", "reward_scale", "reward_shaping",
    "horizon", "ignore_done", "hard_reset", "seed", "env_name",
}  # fmt: skip
"""Settings of robosuite that decide about pictures, rewards and the length of an episode, which this package does."""
HONOURED = {"robots", "controller_configs", "control_freq", "lite_physics"}
TABLE = {"table_full_size": (0.8, 0.8, 0.05), "table_friction": (1.0, 5e-3, 1e-4)}
FIXED: dict[str, dict[str, Any]] = {
    "lift": {**TABLE, "placement_initializer": None},
    "can": {
        **TABLE,
        "table_full_size": (0.39, 0.49, 0.82),
        "bin1_pos": (0.1, -0.25, 0.8),
        "bin2_pos": (0.1, 0.28, 0.8),
        "z_offset": 0.0,
        "z_rotation": None,
    },
    "square": {**TABLE, "table_offset": (0.0, 0.0, 0.82), "placement_initializer": None},
    "tool_hang": TABLE,
    "transport": {
        "tables_boundary": (0.8, 1.2, 0.05),
        "table_friction": TABLE["table_friction"],
        "bin_size": (0.3, 0.3, 0.15),
    },
}
"""Settings of a task's scene: the values that robosuite has by default, which are simulated here."""
PARTS_OF_OTHER_ROBOTS = {"left", "torso", "head", "base", "legs"}
"""robosuite's general controller file has them, and drops those that the robot has not."""
IDLE_CONTROLLER_SETTINGS = {"kp_limits", "damping_ratio_limits", "damping_limits", "ramp_ratio", "policy_freq"}
"""Without effect for a fixed impedance without interpolation."""


def spec_of_data(env_args: Mapping[str, Any], engine: str = "compiled", mode: str = "exact") -> Spec:
    """The environment that a data file names. engine, mode: of robosuite's tasks.

    What a file names is looked up, never imported. Raises `InputError` where a setting has no equivalent here, and
    names it.
    """
    if env_args.get("type") in (GYMNASIUM, GYM_OF_ROBOMIMIC):
        return GymSpec.from_env_args(env_args)
    if env_args.get("type") == FUNCTION:
        raise InputError(
            f"The data are of {env_args.get('env_name')!r}, an environment of a function of a Python program: evaluate "
            "with that function, env=FUNCTION."
        )
    if env_args.get("env_name") == PUSHT.title:
        return PushTSpec()
    return spec_of_robosuite(env_args, engine, mode)


def spec_of_robosuite(env_args: Mapping[str, Any], engine: str = "compiled", mode: str = "exact") -> EnvSpec:
    """The environment of a robomimic data file, written by robosuite 1.4 or 1.5.

    Files up to robosuite 1.4.1 give the arm's controller alone, with `control_delta` and without `lite_physics`; their
    actions are in the world frame. Raises `InputError` where a setting has no equivalent here.
    """
    task = task_of_robosuite(str(env_args.get("env_name")))
    arguments = env_args.get("env_kwargs", {})
    if not isinstance(arguments, Mapping):
        raise _refused("env_kwargs", arguments, "an object of robosuite's settings")
    _check_scene(task, arguments)
    part, alone = _arm_controller(arguments.get("controller_configs"))
    old = alone and not _is_since_1_5(env_args.get("env_version"))
    _check_controller(part)
    position, rotation = _scales(part)
    return EnvSpec(
        task=task.name,
        engine=engine,
        mode=mode,
        action_mode=_action_mode(part, old),
        frame="world" if old else _one_of(part, "input_ref_frame", ("base", "world"), "base"),
        kp=_gains(part, "kp", 150.0),
        damping_ratio=_gains(part, "damping_ratio" if "damping_ratio" in part else "damping", 1.0),
        position_scale=position,
        rotation_scale=rotation,
        lite_physics=_one_of(arguments, "lite_physics", (True, False), not old),
        control_freq=_whole(arguments, "control_freq", 20),
    )


def _refused(name: str, value: Any, expected: str) -> InputError:
    return InputError(
        f"The data file's env_args set {name} to {value!r}; only {expected} can be simulated here. Evaluate it with "
        "the robosuite version that made it, or regenerate the data."
    )


def _is_since_1_5(version: Any) -> bool:
    found = re.match(r"(\d+)\.(\d+)", str(version))
    return found is not None and (int(found[1]), int(found[2])) >= (1, 5)


# -- the scene and the robots ------------------------------------------------------------------------------------------


def _check_scene(task: RobosuiteTask, arguments: Mapping[str, Any]) -> None:
    fixed = FIXED[task.name]
    robots = ["Panda"] * task.robots
    each: dict[str, Callable[[Any], bool]] = {
        "robots": lambda value: (list(value) if isinstance(value, list | tuple) else [value]) == robots,
        "gripper_types": lambda value: _all_in(value, ("default", "PandaGripper")),
        "base_types": lambda value: _all_in(value, ("default", "RethinkMount")),
        "mount_types": lambda value: _all_in(value, ("default", "RethinkMount")),
        "env_configuration": lambda value: value in _configurations(task),
        "initialization_noise": _is_default_noise,
    }
    wanted = {
        "robots": str(robots),
        "gripper_types": "'default' (the Panda's gripper)",
        "base_types": "'default' (the Panda's mount)",
        "mount_types": "'default' (the Panda's mount)",
        "env_configuration": " or ".join(map(repr, _configurations(task))),
        "initialization_noise": "'default' (gaussian of magnitude 0.02)",
    }
    for name, value in arguments.items():
        if name in each:
            if not each[name](value):
                raise _refused(name, value, wanted[name])
        elif name in fixed:
            if not _equal(value, fixed[name]):
                raise _refused(name, value, repr(fixed[name]))
        elif name not in WITHOUT_EFFECT | HONOURED:
            known = ", ".join(sorted({*each, *fixed, *HONOURED, *WITHOUT_EFFECT}))
            raise InputError(
                f"The data file's env_args set {name} to {value!r}, a setting that {task.title} does not have here; "
                f"known: {known}."
            )


def _configurations(task: RobosuiteTask) -> tuple[Any, ...]:
    return ("default", "opposed", "single-arm-opposed") if task.robots > 1 else ("default", None)


def _all_in(value: Any, known: tuple[str, ...]) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(entry in known for entry in values)


def _is_default_noise(value: Any) -> bool:
    return all(
        entry == "default" or (isinstance(entry, Mapping) and dict(entry) == {"magnitude": 0.02, "type": "gaussian"})
        for entry in (value if isinstance(value, list | tuple) else [value])
    )


def _equal(value: Any, expected: Any) -> bool:
    if expected is None or value is None or isinstance(value, str | bool | Mapping):
        return value is None and expected is None
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return False
    return found.shape == np.shape(expected) and np.allclose(found, expected, rtol=0, atol=1e-12)


# -- the controller ----------------------------------------------------------------------------------------------------


def _arm_controller(config: Any) -> tuple[Mapping[str, Any], bool]:
    """The right arm's controller settings, and whether they stand alone, as in files up to robosuite 1.4.1."""
    if isinstance(config, list | tuple):
        if any(other != config[0] for other in config):
            raise InputError("The data file's env_args give the robots different controllers; this is not supported.")
        config = config[0] if config else None
    if not isinstance(config, Mapping):
        raise InputError("The data file's env_args hold no controller_configs, so its actions have no meaning here.")
    if "body_parts" not in config:
        return config, True
    for name, value in config.items():
        if name == "type":
            _expect("the composite controller", value, "BASIC")
        elif name != "body_parts" and value:
            raise _refused(f"the composite controller's {name}", value, "nothing")
    parts = config["body_parts"]
    parts = {**parts, **parts["arms"]} if "arms" in parts else parts
    if unknown := sorted(set(parts) - PARTS_OF_OTHER_ROBOTS - {"arms", "right"}):
        raise _refused(f"the controller of {unknown[0]}", parts[unknown[0]], "a controller of the right arm")
    if "right" not in parts:
        raise InputError("The data file's env_args describe no controller for the right arm.")
    return parts["right"], False


def _expect(name: str, value: Any, expected: Any) -> None:
    if value != expected:
        raise _refused(name, value, repr(expected))


def _check_controller(part: Mapping[str, Any]) -> None:
    """Raises `InputError` for what is not robosuite's operational-space controller of fixed impedance."""
    fixed: dict[str, Any] = {
        "impedance_mode": "fixed",
        "uncouple_pos_ori": True,
        "control_ori": True,
        "interpolation": None,
        "position_limits": None,
        "orientation_limits": None,
        "gripper": {"type": "GRIP"},
    }
    read = {
        "input_type",
        "control_delta",
        "input_ref_frame",
        "kp",
        "damping_ratio",
        "damping",
        "output_max",
        "output_min",
    }
    _expect("the controller's type", part.get("type"), "OSC_POSE")
    for name, value in part.items():
        if name in fixed:
            _expect(f"the controller's {name}", value, fixed[name])
        elif name in ("input_min", "input_max"):
            expected = 1.0 if name == "input_max" else -1.0
            if set(_six(part, name, expected)) != {expected}:
                raise _refused(f"the controller's {name}", value, f"{expected:g}")
        elif name not in read | IDLE_CONTROLLER_SETTINGS | {"type"}:
            raise _refused(f"the controller's {name}", value, "a setting of robosuite's OSC_POSE")


def _action_mode(part: Mapping[str, Any], old: bool) -> str:
    if old:
        return "delta" if _one_of(part, "control_delta", (True, False), True) else "absolute"
    if (
        part.get("control_delta", True) is not True
    ):  # robosuite 1.5 passes over it, so the file says one thing and did another
        raise _refused("the controller's control_delta", part["control_delta"], "True (robosuite 1.5 reads input_type)")
    return str(_one_of(part, "input_type", ("delta", "absolute"), "delta"))


def _one_of(settings: Mapping[str, Any], name: str, known: tuple[Any, ...], default: Any) -> Any:
    value = settings.get(name, default)
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in known):
        raise _refused(name, value, " or ".join(map(repr, known)))
    return value


def _whole(settings: Mapping[str, Any], name: str, default: int) -> int:
    value = settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf or value != int(value):
        raise _refused(name, value, "a whole number above 0")
    return int(value)


def _six(part: Mapping[str, Any], name: str, default: float | Sequence[float]) -> tuple[float, ...]:
    """Six numbers (three of the position, three of the rotation); one number stands for all."""
    value = part.get(name, default)
    values = list(value) if isinstance(value, list | tuple) else [value] * 6
    if len(values) != 6 or not all(
        isinstance(entry, int | float) and not isinstance(entry, bool) and np.isfinite(entry) for entry in values
    ):
        raise _refused(f"the controller's {name}", value, "a number or six numbers")
    return tuple(map(float, values))


def _gains(part: Mapping[str, Any], name: str, default: float) -> float | tuple[float, ...]:
    values = _six(part, name, default)
    return values[0] if len(set(values)) == 1 else values


def _scales(part: Mapping[str, Any]) -> tuple[float, float]:
    """(metres, radians) of an action of 1."""
    high = _six(part, "output_max", (*[0.05] * 3, *[0.5] * 3))
    low = _six(part, "output_min", tuple(-value for value in high))
    if low != tuple(-value for value in high) or len(set(high[:3])) != 1 or len(set(high[3:])) != 1:
        raise InputError(
            f"The data file's env_args scale actions to {list(low)} .. {list(high)}; expected symmetric ranges that "
            "are equal for x, y, z and for the three rotations."
        )
    return high[0], high[3]
