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
from isd_policy.horizons import Horizons
from isd_policy.normaliser import MinMax

STARTS = ("noise", "zeros")


class Normaliser(nn.Module):
    """The scales of a policy's joined observation and of its action."""

    def __init__(self, observation: MinMax, action: MinMax) -> None:
        super().__init__()
        self.observation, self.action = observation, action


class Policy(Trainable):
    """A flow-map network over action chunks with everything that it needs between a robot's units and its own.

    net: F(x; t, s, {"obs": [B, To * Do]}) over x [B, T, Da]; observation_sizes: key -> d, joined in this order; nfe and
    start (`noise` or `zeros`) are what `act` uses. A prediction is clipped to the range of the training actions.
    """

    def __init__(
        self,
        net: nn.Module,
        normaliser: Normaliser,
        sampler: Sampler,
        horizons: Horizons,
        observation_sizes: Mapping[str, int],
        nfe: int = 1,
        start: str = "noise",
    ) -> None:
        super().__init__()
        if sum(observation_sizes.values()) != normaliser.observation.size:
            raise InputError(
                f"The observations {dict(observation_sizes)} have {sum(observation_sizes.values())} numbers together, "
                f"but the normaliser's statistics are of {normaliser.observation.size}."
            )
        self.net, self.normaliser, self.sampler, self.horizons = net, normaliser, sampler, horizons
        self.observation_sizes = dict(observation_sizes)
        self.nfe, self.start = nfe, check_start(start)
        self.reset()

    @property
    def action_size(self) -> int:
        """Da, the length of an action."""
        return self.normaliser.action.size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.normaliser.action.low.device

    def prepare(self, batch: Mapping[str, Any], rng: Generator) -> tuple[Tensor, Cond]:
        """A batch of `ActionChunks` -> normalised actions [B, T, Da] and the conditioning. Draws nothing from `rng`."""
        return self.normaliser.action(batch["action"]), self.condition(batch["obs"])

    def condition(self, obs: Mapping[str, Tensor]) -> Cond:
        """Observations key -> [B, To, d] in the data's units -> {"obs": [B, To * Do]}, normalised."""
        joined = torch.cat([obs[key] for key in self.observation_sizes], dim=-1)
        return {"obs": self.normaliser.observation(joined).flatten(1)}

    @torch.no_grad()
    def predict(self, obs: Mapping[str, Tensor], noise: Tensor, nfe: int) -> Tensor:
        """The executed part of a chunk, [B, Ta, Da] in the data's units.

        obs: key -> [B, To, d]; noise: [B, T, Da] standard normal, or zeros for the most likely start; nfe: network
        calls, at least 1 (`InputError`). A row depends on its own observation and noise.
        """
        chunk = self.sampler(self.net, noise, nfe, self.condition(obs))
        return self.normaliser.action.inverse(chunk[:, self.horizons.executed].clamp(-1, 1))

    # -- one robot ----------------------------------------------------------------------------------------------------

    def reset(self, seed: int = 0) -> None:
        """Forgets the observations; the noise of the calls that follow comes from (seed, number of the call)."""
        self._history: deque[dict[str, Tensor]] = deque(maxlen=self.horizons.observation)
        self._seed, self._calls = seed, 0

    def observe(self, obs: Mapping[str, np.ndarray]) -> None:
        """Adds one observation, key -> [d], to the history; the first one fills it. Call it at every control step.

        Raises `InputError` for a missing key, a wrong size and a number that is not finite.
        """
        row = {key: self._checked(obs, key, size) for key, size in self.observation_sizes.items()}
        self._history.extend([row] * (1 if self._history else self.horizons.observation))

    def act(self, obs: Mapping[str, np.ndarray], nfe: int | None = None, start: str | None = None) -> np.ndarray:
        """`observe(obs)`, then the next actions to execute, [Ta, Da] float32."""
        self.observe(obs)
        history = {key: torch.stack([row[key] for row in self._history])[None] for key in self.observation_sizes}
        noise = self.starts(check_start(self.start if start is None else start), self._seed, [(self._calls,)])
        self._calls += 1
        return self.predict(history, noise, self.nfe if nfe is None else nfe)[0].cpu().numpy()

    def starts(self, start: str, seed: int, indices: list[tuple[int, ...]]) -> Tensor:
        """The sampler's starts [len(indices), T, Da]: zeros, or noise of the streams (seed, "policy", *index)."""
        shape = (self.horizons.prediction, self.action_size)
        if check_start(start) == "zeros":
            return torch.zeros(len(indices), *shape, device=self.device)
        rows = [seeds.numpy_rng(seed, "policy", *index).standard_normal(shape, np.float32) for index in indices]
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def _checked(self, obs: Mapping[str, np.ndarray], key: str, size: int) -> Tensor:
        if key not in obs:
            raise InputError(f"The observation has no `{key}`; the policy needs {', '.join(self.observation_sizes)}.")
        value = np.asarray(obs[key], dtype=np.float32)
        if value.shape != (size,):
            raise InputError(f"The observation `{key}` has shape {value.shape}; the policy was trained with ({size},).")
        if not np.isfinite(value).all():
            raise InputError(f"The observation `{key}` is not finite: {value.tolist()}. The policy was not called.")
        return torch.from_numpy(value).to(self.device)


def check_start(start: str) -> str:
    """`start` itself; `InputError` unless it is one of `STARTS`."""
    if start not in STARTS:
        raise InputError(f"start={start}: the sampler starts from {' or '.join(STARTS)}.")
    return start
