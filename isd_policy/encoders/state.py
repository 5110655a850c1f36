"""Observations without pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Generator, Tensor, nn

from isd_core.errors import InputError
from isd_policy.encoders.base import Encoder
from isd_policy.observations import ObservationSchema


class StateEncoder(Encoder):
    """The numbers as they are, [B, To * Do], or through a fully connected network with the given widths.

    Raises `InputError` when the observations hold pictures.
    """

    def __init__(self, schema: ObservationSchema, horizon: int, widths: Sequence[int] = ()) -> None:
        super().__init__()
        if schema.pictures:
            raise InputError(
                f"The observation `{schema.pictures[0]}` is a picture, which this encoder does not read: use "
                "encoder=pictures, or take it out of the observation keys."
            )
        sizes = [horizon * schema.state_size, *widths]
        self.size = sizes[-1]
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.body = nn.Sequential(*layers)

    def forward(self, state: Tensor, pictures: Mapping[str, Tensor], rng: Generator | None = None) -> Tensor:
        return self.body(state.flatten(1))
