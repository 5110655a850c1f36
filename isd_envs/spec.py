"""What defines an environment: the task, the engine that steps it, and the simulation's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol

import numpy as np

from isd_core.support.errors import InputError
from isd_envs.tasks import FUNCTION, GYMNASIUM, PUSHT, RobosuiteTask, Task, robosuite_task

CHOICES = {
    "engine": ("compiled", "robosuite"),
    "mode": ("exact", "fast"),
    "action_mode": ("delta", "absolute"),
    "frame": ("base", "world"),
}


CAMERA_SUFFIX = "_image"


class Spec(Protocol):
    """One environment, ready to be built: `EnvSpec` for robosuite's tasks, `PushTSpec`, `GymSpec` for all others."""

    @property
    def task(self) -> str: ...

    @property
    def engine(self) -> str: ...

    @property
    def mode(self) -> str: ...

    @property
    def action_mode(self) -> str: ...

    @property
    def control_freq(self) -> float: ...

    @property
    def definition(self) -> Task:
        """The task's table entry."""

    @property
    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        """([Da], [Da]) the smallest and the largest action; infinite where there is no bound."""

    @property
    def picture_shapes(self) -> dict[str, tuple[int, int, int]]:
        """Observation key -> (H, W, channels) in pixels of the pictures among the observations."""

    @property
    def picture_cameras(self) -> dict[str, str]:
        """Observation key -> camera of those pictures that the engine draws when asked."""

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
    return numbers | spec.picture_shapes


def check_fits(spec: Spec, shapes: Mapping[str, tuple[int, ...]], action_size: int, policy: str) -> None:
    """Raises `InputError` where a policy's observations or actions are not those of an environment.

    shapes: key -> (d,) or (H, W, C) of what the policy sees; policy: what messages call it, e.g. its file.
    """
    offered = observation_shapes(spec)
    for key, shape in shapes.items():
        if offered.get(key) != tuple(shape):
            there = ", ".join(f"{known} {list(size)}" for known, size in offered.items())
            raise InputError(
                f"{policy} sees `{key}` of shape {list(shape)}; the environment {spec.task} "
                + (f"gives it as {list(offered[key])}." if key in offered else f"has no such observation: {there}.")
            )
    if action_size != spec.definition.action_size:
        raise InputError(
            f"{policy} predicts {action_size} numbers an action; the environment {spec.task} takes "
            f"{spec.definition.action_size}."
        )


def spec_from_dict(values: Mapping[str, Any]) -> Spec:
    """The spec whose `to_dict` gave `values`, or that a command describes. Raises `InputError` for unknown fields."""
    if values.get("task") == PUSHT.name:
        from isd_envs.engines.pusht.spec import PushTSpec

        return from_fields(PushTSpec, values)
    if values.get("engine") == GYMNASIUM:
        from isd_envs.engines.gym.spec import GymSpec

        return from_fields(GymSpec, values)
    if values.get("engine") == FUNCTION:
        raise InputError(
            f"The environment {values.get('task')!r} was made by a function of a Python program, so it cannot be made "
            "again from a file. Register it (a task, or a gymnasium id), or use it in the program with the function."
        )
    return EnvSpec.from_dict(values)


def from_fields(kind: Any, values: Mapping[str, Any]) -> Any:
    """`kind(**values)`; raises `InputError` for a field that the dataclass does not have."""
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise InputError(f"An environment has no field `{unknown[0]}`; known: {', '.join(sorted(known))}.")
    return kind(**values)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < np.inf


def _plain(value: float | tuple[float, ...]) -> float | list[float]:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class EnvSpec:
    """A robosuite task. Lengths in metres, angles in radians, rates in hertz.

    engine: `compiled` steps whole action chunks in one compiled function, `robosuite` calls robosuite's own step.
    mode: of the compiled engine; `exact` repeats robosuite bit for bit, `fast` reorders the controller's arithmetic.
    action_mode, frame: whether an action is a displacement or a pose, and in which frame.
    kp, damping_ratio: the controller's stiffness (1/s^2) and damping, a number or six (x, y, z and three rotations);
    position_scale, rotation_scale: what an action of 1 means in `delta` (m, rad).
    lite_physics: robosuite's `lite_physics`; false repeats what robosuite up to 1.4.1 did.
    cameras, picture_height, picture_width: pictures among the observations, `<camera>_image`, in pixels.
    """

    task: str = "lift"
    engine: str = "compiled"
    mode: str = "exact"
    action_mode: str = "delta"
    frame: str = "base"
    kp: float | tuple[float, ...] = 150.0
    damping_ratio: float | tuple[float, ...] = 1.0
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
        for field in ("position_scale", "rotation_scale", *sizes):
            if not _is_positive(value := getattr(self, field)):
                raise InputError(f"env.{field} is {value!r}; expected a number above 0.")
        for field in ("kp", "damping_ratio"):
            value = getattr(self, field)
            if isinstance(value, list | tuple):
                object.__setattr__(self, field, tuple(value))
                if len(value) != 6 or not all(map(_is_positive, value)):
                    raise InputError(f"env.{field} is {list(value)}; expected a number or six numbers above 0.")
            elif not _is_positive(value):
                raise InputError(f"env.{field} is {value!r}; expected a number or six numbers above 0.")

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
    def picture_shapes(self) -> dict[str, tuple[int, int, int]]:
        return dict.fromkeys(self.picture_cameras, (self.picture_height, self.picture_width, 3))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; `EnvSpec.from_dict` restores the spec."""
        gains = {"kp": _plain(self.kp), "damping_ratio": _plain(self.damping_ratio)}
        return asdict(self) | gains | {"cameras": list(self.cameras)}

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
            "kp": _plain(self.kp),
            "damping_ratio": _plain(self.damping_ratio),
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
