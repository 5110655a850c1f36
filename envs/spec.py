"""What defines an environment: the task, the engine that steps it, and the controller's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from envs.tasks import Task, task_named, task_of_robosuite
from isd_core.errors import InputError

CHOICES = {
    "engine": ("compiled", "robosuite"),
    "mode": ("exact", "fast"),
    "goal": ("delta", "absolute"),
    "frame": ("base", "world"),
}


@dataclass(frozen=True)
class EnvSpec:
    """One environment, ready to be built in any process. Lengths in metres, angles in radians, rates in hertz.

    engine: `compiled` steps whole action chunks in one compiled function, `robosuite` calls robosuite's own step.
    mode: of the compiled engine; `exact` repeats robosuite bit for bit, `fast` reorders the controller's arithmetic.
    goal, frame: whether an action is a displacement or a pose, and in which frame (operational-space controller).
    kp, damping_ratio: the controller's stiffness (1/s^2) and damping; position_scale, rotation_scale: what an action
    of 1 means in `delta` (m, rad).
    lite_physics: robosuite's `lite_physics`; false repeats what robosuite up to 1.4.1 did.
    """

    task: str = "lift"
    engine: str = "compiled"
    mode: str = "exact"
    goal: str = "delta"
    frame: str = "base"
    kp: float = 150.0
    damping_ratio: float = 1.0
    position_scale: float = 0.05
    rotation_scale: float = 0.5
    lite_physics: bool = True
    control_freq: int = 20

    def __post_init__(self) -> None:
        task_named(self.task)
        for field, choices in CHOICES.items():
            if (value := getattr(self, field)) not in choices:
                raise InputError(f"env.{field} is {value!r}; expected one of {', '.join(choices)}.")
        for field in ("kp", "damping_ratio", "position_scale", "rotation_scale", "control_freq"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InputError(f"env.{field} is {value!r}; expected a number above 0.")

    @property
    def definition(self) -> Task:
        """The task's table entry."""
        return task_named(self.task)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; `EnvSpec.from_dict` restores the spec."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EnvSpec:
        """Raises `InputError` for a field that does not exist."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"An environment has no field `{unknown[0]}`; known: {', '.join(sorted(known))}.")
        return cls(**values)

    @property
    def controller(self) -> dict[str, Any]:
        """robosuite 1.5's composite controller for this spec (both arms of a two-arm task get the same)."""
        scale = [self.position_scale] * 3 + [self.rotation_scale] * 3
        part = {
            "type": "OSC_POSE",
            "input_max": 1,
            "input_min": -1,
            "output_max": scale,
            "output_min": [-value for value in scale],
            "kp": self.kp,
            "damping_ratio": self.damping_ratio,
            "impedance_mode": "fixed",
            "kp_limits": [0, 300],
            "damping_ratio_limits": [0, 10],
            "position_limits": None,
            "orientation_limits": None,
            "uncouple_pos_ori": True,
            "input_type": self.goal,
            "input_ref_frame": self.frame,
            "interpolation": None,
            "ramp_ratio": 0.2,
            "gripper": {"type": "GRIP"},
        }
        return {"type": "BASIC", "body_parts": {"right": part}}

    @property
    def robosuite_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `robosuite.make`, without rendering; also what a data file records."""
        return {
            "robots": ["Panda"] * self.definition.robots,
            "controller_configs": self.controller,
            "has_renderer": False,
            "has_offscreen_renderer": False,
            "use_camera_obs": False,
            "use_object_obs": True,
            "reward_shaping": False,
            "control_freq": self.control_freq,
            "ignore_done": True,
            "lite_physics": self.lite_physics,
        }

    @property
    def env_args(self) -> dict[str, Any]:
        """The `env_args` of a robomimic data file that was made in this environment."""
        return {
            "env_name": self.definition.robosuite_name,
            "env_version": "1.5.2",
            "type": 1,
            "env_kwargs": self.robosuite_arguments,
        }

    @classmethod
    def from_env_args(cls, env_args: Mapping[str, Any], engine: str = "compiled", mode: str = "exact") -> EnvSpec:
        """The environment of a robomimic data file, from its `env_args`, written by robosuite 1.4 or 1.5.

        Files up to robosuite 1.4.1 give the arm's controller alone, with `control_delta` and without `lite_physics`;
        their goals are in the world frame. Raises `InputError` where a setting has no equivalent here.
        """
        task = task_of_robosuite(str(env_args.get("env_name")))
        arguments = env_args.get("env_kwargs", {})
        robots = arguments.get("robots", "Panda")
        robots = [robots] if isinstance(robots, str) else list(robots)
        _expect("robots", robots, ["Panda"] * task.robots)
        part, old = _arm_controller(arguments.get("controller_configs"))
        _expect("controller type", part.get("type"), "OSC_POSE")
        _expect("impedance_mode", part.get("impedance_mode", "fixed"), "fixed")
        _expect("uncouple_pos_ori", part.get("uncouple_pos_ori", True), True)
        for key in ("interpolation", "position_limits", "orientation_limits"):
            _expect(key, part.get(key), None)
        _expect("input range", [part.get("input_min", -1), part.get("input_max", 1)], [-1, 1])
        position, rotation = _symmetric_scales(part)
        delta = bool(part.get("control_delta", True)) if old else part.get("input_type", "delta") == "delta"
        return cls(
            task=task.name,
            engine=engine,
            mode=mode,
            goal="delta" if delta else "absolute",
            frame="world" if old else str(part.get("input_ref_frame", "base")),
            kp=float(part.get("kp", 150)),
            damping_ratio=float(part.get("damping_ratio", part.get("damping", 1))),
            position_scale=position,
            rotation_scale=rotation,
            lite_physics=bool(arguments.get("lite_physics", not old)),
            control_freq=int(arguments.get("control_freq", 20)),
        )


def _expect(name: str, value: Any, expected: Any) -> None:
    if value != expected:
        raise InputError(
            f"The data file's env_args set {name} to {value!r}; only {expected!r} can be simulated here. "
            "Evaluate it with the robosuite version that made it, or regenerate the data."
        )


def _arm_controller(config: Any) -> tuple[Mapping[str, Any], bool]:
    """The right arm's controller settings, and whether they are in the layout of robosuite up to 1.4.1."""
    if isinstance(config, list | tuple):
        if any(other != config[0] for other in config):
            raise InputError("The data file's env_args give the robots different controllers; this is not supported.")
        config = config[0] if config else None
    if not isinstance(config, Mapping):
        raise InputError("The data file's env_args hold no controller_configs, so its actions have no meaning here.")
    if "body_parts" not in config:
        return config, True
    parts = config["body_parts"]
    parts = parts.get("arms", parts)
    if "right" not in parts:
        raise InputError("The data file's env_args describe no controller for the right arm.")
    return parts["right"], False


def _symmetric_scales(part: Mapping[str, Any]) -> tuple[float, float]:
    """(metres, radians) of an action of 1."""
    high = list(part.get("output_max", [0.05] * 3 + [0.5] * 3))
    low = list(part.get("output_min", [-value for value in high]))
    if len(high) != 6 or low != [-v for v in high] or len(set(high[:3])) != 1 or len(set(high[3:])) != 1:
        raise InputError(
            f"The data file's env_args scale actions to {low} .. {high}; expected symmetric ranges that are equal for "
            "x, y, z and for the three rotations."
        )
    return float(high[0]), float(high[3])
