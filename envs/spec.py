"""What defines an environment: the task, the engine that steps it, and the simulation's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol

import numpy as np

from envs.tasks import PUSHT, RobosuiteTask, Task, robosuite_task, task_of_robosuite
from isd_core.support.errors import InputError

CHOICES = {
    "engine": ("compiled", "robosuite"),
    "mode": ("exact", "fast"),
    "action_mode": ("delta", "absolute"),
    "frame": ("base", "world"),
}


CAMERA_SUFFIX = "_image"


class Spec(Protocol):
    """One environment, ready to be built in any process: `EnvSpec` for robosuite's tasks, `PushTSpec`."""

    @property
    def task(self) -> str: ...

    @property
    def engine(self) -> str: ...

    @property
    def mode(self) -> str: ...

    @property
    def action_mode(self) -> str: ...

    @property
    def control_freq(self) -> int: ...

    @property
    def definition(self) -> Task:
        """The task's table entry."""

    @property
    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        """([Da], [Da]) the smallest and the largest action; infinite where there is no bound."""

    @property
    def picture_cameras(self) -> dict[str, str]:
        """Observation key -> camera of the pictures among the observations."""

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of those pictures in pixels."""

    def with_action_mode(self, mode: str) -> Spec:
        """The same environment with `delta` or `absolute` actions; `InputError` where it has none of that kind."""

    def with_pictures(self, shapes: Mapping[str, tuple[int, ...]]) -> Spec:
        """The same environment with these pictures, key -> (H, W, 3), among its observations.

        Raises `InputError` for a picture that it cannot give.
        """

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; `spec_from_dict` restores the spec."""


def observation_shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    """key -> (d,) for numbers and (H, W, 3) for pictures, all that the environment of `spec` offers."""
    numbers: dict[str, tuple[int, ...]] = {key: (size,) for key, size in spec.definition.observation_sizes.items()}
    return numbers | dict.fromkeys(spec.picture_cameras, (*spec.picture_size, 3))


def spec_from_dict(values: Mapping[str, Any]) -> Spec:
    """The spec whose `to_dict` gave `values`, or that a command describes. Raises `InputError` for unknown fields."""
    if values.get("task") == PUSHT.name:
        from envs.engines.pusht.spec import PushTSpec

        return from_fields(PushTSpec, values)
    return EnvSpec.from_dict(values)


def spec_of_data(env_args: Mapping[str, Any], engine: str = "compiled", mode: str = "exact") -> Spec:
    """The environment that a data file names. engine, mode: of robosuite's tasks."""
    if env_args.get("env_name") == PUSHT.title:
        from envs.engines.pusht.spec import PushTSpec

        return PushTSpec()
    return EnvSpec.from_env_args(env_args, engine, mode)


def from_fields(kind: Any, values: Mapping[str, Any]) -> Any:
    """`kind(**values)`; raises `InputError` for a field that the dataclass does not have."""
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise InputError(f"An environment has no field `{unknown[0]}`; known: {', '.join(sorted(known))}.")
    return kind(**values)


@dataclass(frozen=True)
class EnvSpec:
    """A robosuite task. Lengths in metres, angles in radians, rates in hertz.

    engine: `compiled` steps whole action chunks in one compiled function, `robosuite` calls robosuite's own step.
    mode: of the compiled engine; `exact` repeats robosuite bit for bit, `fast` reorders the controller's arithmetic.
    action_mode, frame: whether an action is a displacement or a pose, and in which frame.
    kp, damping_ratio: the controller's stiffness (1/s^2) and damping; position_scale, rotation_scale: what an action
    of 1 means in `delta` (m, rad).
    lite_physics: robosuite's `lite_physics`; false repeats what robosuite up to 1.4.1 did.
    cameras, picture_height, picture_width: pictures among the observations, `<camera>_image`, in pixels.
    """

    task: str = "lift"
    engine: str = "compiled"
    mode: str = "exact"
    action_mode: str = "delta"
    frame: str = "base"
    kp: float = 150.0
    damping_ratio: float = 1.0
    position_scale: float = 0.05
    rotation_scale: float = 0.5
    lite_physics: bool = True
    control_freq: int = 20
    cameras: tuple[str, ...] = ()
    picture_height: int = 84
    picture_width: int = 84

    def __post_init__(self) -> None:
        robosuite_task(self.task)
        object.__setattr__(self, "cameras", tuple(self.cameras))
        for field, choices in CHOICES.items():
            if (value := getattr(self, field)) not in choices:
                raise InputError(f"env.{field} is {value!r}; expected one of {', '.join(choices)}.")
        sizes = ("control_freq", "picture_height", "picture_width")
        for field in ("kp", "damping_ratio", "position_scale", "rotation_scale", *sizes):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InputError(f"env.{field} is {value!r}; expected a number above 0.")

    @property
    def definition(self) -> RobosuiteTask:
        """The task's table entry."""
        return robosuite_task(self.task)

    @property
    def physics(self) -> EnvSpec:
        """The same environment without pictures."""
        return replace(self, cameras=(), picture_height=84, picture_width=84)

    @property
    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Displacements lie in [-1, 1]; poses have no bound."""
        high = np.full(self.definition.action_size, 1.0 if self.action_mode == "delta" else np.inf)
        return -high, high

    def with_action_mode(self, mode: str) -> EnvSpec:
        return replace(self, action_mode=mode)

    def with_pictures(self, shapes: Mapping[str, tuple[int, ...]]) -> EnvSpec:
        """Cameras are checked when they are used; all pictures have one size."""
        if not shapes:
            return self
        sizes = {shape[:2] for shape in shapes.values()}
        if len(sizes) > 1 or not all(key.endswith(CAMERA_SUFFIX) for key in shapes):
            found = ", ".join(f"{key} {list(shape)}" for key, shape in shapes.items())
            raise InputError(
                f"Pictures of {self.definition.title} are called <camera>_image and have one size: {found}."
            )
        height, width = sizes.pop()
        cameras = tuple(key.removesuffix(CAMERA_SUFFIX) for key in shapes)
        return replace(self, cameras=cameras, picture_height=height, picture_width=width)

    @property
    def picture_cameras(self) -> dict[str, str]:
        """Robomimic's key of each camera's picture."""
        return {f"{camera}{CAMERA_SUFFIX}": camera for camera in self.cameras}

    @property
    def picture_size(self) -> tuple[int, int]:
        return self.picture_height, self.picture_width

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; `EnvSpec.from_dict` restores the spec."""
        return asdict(self) | {"cameras": list(self.cameras)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EnvSpec:
        """Raises `InputError` for a field that does not exist."""
        spec: EnvSpec = from_fields(cls, values)
        return spec

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
            "input_type": self.action_mode,
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
        their actions are in the world frame. Raises `InputError` where a setting has no equivalent here.
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
            action_mode="delta" if delta else "absolute",
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
