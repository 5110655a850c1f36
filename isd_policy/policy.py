"""A policy: observation history in, action chunk out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from isd_core import seeds
from isd_core.errors import InputError
from isd_core.network import Cond, Trainable
from isd_core.sampling import Sampler
from isd_policy.actions import ActionRepresentation, Plain
from isd_policy.encoders.base import Encoder
from isd_policy.encoders.state import StateEncoder
from isd_policy.horizons import Horizons
from isd_policy.normaliser import MinMax
from isd_policy.observations import ObservationSchema

STARTS = ("noise", "zeros")


class Normaliser(nn.Module):
    """The scales of a policy's joined observation and of its action."""

    def __init__(self, observation: MinMax, action: MinMax) -> None:
        super().__init__()
        self.observation, self.action = observation, action


class Policy(Trainable):
    """A flow-map network over action chunks with everything that it needs between a robot's units and its own.

    net: F(x; t, s, {"obs": [B, C]}) over x [B, T, Da]; encoder: observations to those C numbers (the numbers as they
    are where it is None); actions: how the robot's actions are written for the network; nfe and start (`noise` or
    `zeros`) are what `act` uses. A prediction is clipped to the range of the training actions.
    """

    def __init__(
        self,
        net: nn.Module,
        normaliser: Normaliser,
        sampler: Sampler,
        horizons: Horizons,
        schema: ObservationSchema,
        encoder: Encoder | None = None,
        actions: ActionRepresentation | None = None,
        nfe: int = 1,
        start: str = "noise",
    ) -> None:
        super().__init__()
        if schema.state_size != normaliser.observation.size:
            raise InputError(
                f"The observations {schema.shapes} have {schema.state_size} numbers together, but the normaliser's "
                f"statistics are of {normaliser.observation.size}."
            )
        self.net, self.normaliser, self.sampler, self.horizons = net, normaliser, sampler, horizons
        self.schema = schema
        self.encoder = StateEncoder(schema, horizons.observation) if encoder is None else encoder
        self.actions: ActionRepresentation = Plain() if actions is None else actions
        self.nfe, self.start = nfe, check_start(start)
        self.reset()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.normaliser.action.low.device

    def prepare(self, batch: Mapping[str, Any], rng: Generator) -> tuple[Tensor, Cond]:
        """A batch of action chunks -> normalised actions [B, T, Da] and the conditioning; `rng` crops pictures."""
        return self.normaliser.action(batch["action"]), self.condition(batch["obs"], rng)

    def condition(self, obs: Mapping[str, Tensor], rng: Generator | None = None) -> Cond:
        """Observations key -> [B, To, ...] in the data's units -> {"obs": [B, C]}."""
        state = self.normaliser.observation(self.schema.join(obs))
        return {"obs": self.encoder(state, {key: obs[key] for key in self.schema.pictures}, rng)}

    @torch.no_grad()
    def predict(self, obs: Mapping[str, Tensor], noise: Tensor, nfe: int) -> Tensor:
        """The executed part of a chunk, [B, Ta, robot's Da] in the robot's units.

        obs: key -> [B, To, ...]; noise: [B, T, Da] standard normal, or zeros for the most likely start; nfe: network
        calls, at least 1 (`InputError`). A row depends on its own observation and noise.
        """
        chunk = self.sampler(self.net, noise, nfe, self.condition(obs))
        return self.actions.decode(self.normaliser.action.inverse(chunk[:, self.horizons.executed].clamp(-1, 1)))

    # -- one robot ----------------------------------------------------------------------------------------------------

    def reset(self, seed: int = 0) -> None:
        """Forgets the observations; the noise of the calls that follow comes from (seed, number of the call)."""
        self._history: deque[dict[str, Tensor]] = deque(maxlen=self.horizons.observation)
        self._seed, self._calls = seed, 0

    def observe(self, obs: Mapping[str, np.ndarray]) -> None:
        """Adds one observation, key -> [d] or [H, W, C], to the history; the first one fills it. Call it at every
        control step.

        Raises `InputError` for a missing key, a wrong shape and a number that is not finite.
        """
        row = {key: value.to(self.device) for key, value in self.schema.row(obs).items()}
        self._history.extend([row] * (1 if self._history else self.horizons.observation))

    def act(self, obs: Mapping[str, np.ndarray], nfe: int | None = None, start: str | None = None) -> np.ndarray:
        """`observe(obs)`, then the next actions to execute, [Ta, robot's Da] float32."""
        self.observe(obs)
        history = {key: torch.stack([row[key] for row in self._history])[None] for key in self.schema.shapes}
        noise = self.starts(check_start(self.start if start is None else start), self._seed, [(self._calls,)])
        self._calls += 1
        return self.predict(history, noise, self.nfe if nfe is None else nfe)[0].cpu().numpy()

    def starts(self, start: str, seed: int, indices: list[tuple[int, ...]]) -> Tensor:
        """The sampler's starts [len(indices), T, Da]: zeros, or noise of the streams (seed, "policy", *index)."""
        shape = (self.horizons.prediction, self.normaliser.action.size)
        if check_start(start) == "zeros":
            return torch.zeros(len(indices), *shape, device=self.device)
        rows = [seeds.numpy_rng(seed, "policy", *index).standard_normal(shape, np.float32) for index in indices]
        return torch.from_numpy(np.stack(rows)).to(self.device)


def check_start(start: str) -> str:
    """`start` itself; `InputError` unless it is one of `STARTS`."""
    if start not in STARTS:
        raise InputError(f"start={start}: the sampler starts from {' or '.join(STARTS)}.")
    return start
