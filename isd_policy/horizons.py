"""How much a policy sees, predicts and executes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isd_core.support.errors import InputError
from isd_core.support.fields import Size
from isd_core.support.registry import structured
from isd_policy.validation import check_whole


@dataclass(frozen=True)
class Horizons:
    """Lengths in control steps: To observations in, T actions out, Ta of them executed.

    The prediction's first action belongs to the oldest observation, so the executed part is [To - 1, To - 1 + Ta).
    """

    observation: Size = 2
    prediction: Size = 16
    execution: Size = 8

    def __post_init__(self) -> None:
        check_whole(vars(self), "observation", "prediction", "execution")
        if self.observation - 1 + self.execution > self.prediction:
            raise InputError(
                f"horizons.execution={self.execution} reaches beyond the prediction: with {self.observation} "
                f"observations at most {self.prediction - self.observation + 1} of {self.prediction} predicted "
                "actions lie ahead."
            )

    @property
    def ahead(self) -> slice:
        """The part of a prediction from the newest observation on; its first Ta actions are executed."""
        return slice(self.observation - 1, self.prediction)


def horizons_of(config: Mapping[str, Any]) -> Horizons:
    """The horizons of a resolved config."""
    horizons: Horizons = structured(Horizons, config["horizons"], where="horizons")
    return horizons
