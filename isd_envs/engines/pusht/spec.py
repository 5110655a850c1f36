"""What defines a Push-T environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from isd_core.support.errors import InputError
from isd_envs.tasks import PUSHT, PushTTask

WORLD = 512.0
"""The world's edge in pixels."""
PICTURE = 96
"""The edge of an observed picture in pixels, as recorded."""


@dataclass(frozen=True)
class PushTSpec:
    """Push-T. pictures: whether the 96 x 96 picture `image` is among the observations."""

    task: str = PUSHT.name
    engine: str = "pymunk"
    mode: str = "exact"
    pictures: bool = False

    def __post_init__(self) -> None:
        for field, only in (("task", PUSHT.name), ("engine", "pymunk"), ("mode", "exact")):
            if (value := getattr(self, field)) != only:
                raise InputError(f"env.{field} is {value!r}; Push-T has {only!r} alone.")

    @property
    def action_mode(self) -> str:
        return "absolute"

    @property
    def control_freq(self) -> int:
        return 10

    @property
    def definition(self) -> PushTTask:
        return PUSHT

    @property
    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(2), np.full(2, WORLD)

    def with_action_mode(self, mode: str) -> PushTSpec:
        if mode != self.action_mode:
            raise InputError(f"Push-T's actions are places, not action_mode={mode}: use the task's own.")
        return self

    def with_pictures(self, shapes: Mapping[str, tuple[int, ...]]) -> PushTSpec:
        own = {"image": (PICTURE, PICTURE, 3)}
        if different := {key: shape for key, shape in shapes.items() if own.get(key) != shape}:
            raise InputError(f"Push-T's picture is `image` of {own['image']}; it has none like {different}.")
        return replace(self, pictures=bool(shapes))

    @property
    def picture_cameras(self) -> dict[str, str]:
        return {"image": "image"} if self.pictures else {}

    @property
    def picture_shapes(self) -> dict[str, tuple[int, int, int]]:
        return dict.fromkeys(self.picture_cameras, (PICTURE, PICTURE, 3))

    @property
    def env_args(self) -> dict[str, Any]:
        """The `env_args` of a data file of this environment."""
        return {"env_name": PUSHT.title, "env_kwargs": {}}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
