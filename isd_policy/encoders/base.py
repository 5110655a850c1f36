"""What a policy asks of an encoder."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Generator, Tensor, nn


class Encoder(nn.Module):
    """Built from an `ObservationSchema` and the number of observations To. `size` is C, the length of what it gives."""

    size: int

    def forward(self, state: Tensor, pictures: Mapping[str, Tensor], rng: Generator | None = None) -> Tensor:
        """Normalised numbers [B, To, Do] and pictures key -> [B, To, H, W, C] (bytes) to [B, C]; `rng` augments."""
        raise NotImplementedError
