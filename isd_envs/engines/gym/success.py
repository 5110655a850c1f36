"""When an episode of a gymnasium environment has succeeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from isd_core.support import fields as types
from isd_core.support.errors import InputError

KEYS = ("success", "is_success")
"""The entries of `info` by which environments say it, where no rule is given."""


@dataclass(frozen=True)
class SuccessRule:
    """At most one of: info, the entry of `info` that is true; reward, what a step's reward must reach. Neither:
    `success` or `is_success` of `info`.
    """

    info: str | None = None
    reward: float | None = None

    def __post_init__(self) -> None:
        hints = {"info": str | None, "reward": float | None}
        for key, hint in hints.items():
            object.__setattr__(self, key, types.checked(getattr(self, key), hint, f"success.{key}"))
        given = [f"{key}={getattr(self, key)}" for key in hints if getattr(self, key) is not None]
        if len(given) > 1:
            raise InputError(f"success has two rules, {' and '.join(given)}; give one.")

    @classmethod
    def of(cls, values: SuccessRule | Mapping[str, Any]) -> SuccessRule:
        """From a config; raises `InputError` for an unknown field."""
        if isinstance(values, SuccessRule):
            return values
        known = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or set(values) - set(known):
            raise InputError(f"success is {values!r}; expected one of the fields {', '.join(known)}.")
        return cls(**values)

    @property
    def keys(self) -> tuple[str, ...]:
        """The entries of `info` of which one is needed."""
        if self.info is not None:
            return (self.info,)
        return KEYS if self.reward is None else ()

    def holds(self, reward: float, info: Mapping[str, Any]) -> bool:
        """Whether a step is successful; an entry of `info` that is not there says no."""
        if self.reward is not None:
            return reward >= self.reward
        return any(bool(info.get(key, False)) for key in self.keys)
