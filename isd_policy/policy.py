"""A policy: observation history in, action chunk out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from isd_core.network import KNOWN, Cond, Trainable
from isd_core.sampling import Sampler
from isd_core.support.errors import InputError
from isd_policy.actions import ActionRepresentation, Plain
from isd_policy.backend import Inputs, PolicyBackend, check_initial_noise
from isd_policy.delays import DelayLaw, NoPrefix
from isd_policy.encoder import ObservationEncoder
from isd_policy.horizons import Horizons
from isd_policy.networks.prefix import PREFIX
from isd_policy.normaliser import FARTHEST, ActionScale, MinMax
from isd_policy.observations import ObservationSchema


class Normaliser(nn.Module):
    """The scales of a policy's joined observation and of its encoded action, and the range of the robot's own actions.

    limits: the smallest and the largest value of each number of the training actions in the robot's units (default:
    those of the encoded action).
    """

    def __init__(self, observation: MinMax, action: MinMax, limits: MinMax | None = None) -> None:
        super().__init__()
        self.observation, self.action = observation, ActionScale(action)
        self.limits = MinMax(action.low, action.high) if limits is None else limits


Pack = Callable[["Policy", Path, int, str | None], None]
"""(policy, folder to write, network calls of an action, licence of the data)."""


class Policy(Trainable, PolicyBackend):
    """A flow-map network over action chunks with everything that it needs between a robot's units and its own.

    net: F(x; t, s, {"obs": [B, C]}) over x [B, T, Da]; encoder: observations to those C numbers (the numbers as they
    are where it is None); actions: how the robot's actions are written for the network; nfe and initial_noise
    (`gaussian` or `zeros`) are what `act` uses; delay: the law of the first actions that are given in training. A
    prediction is kept within the range of the training actions, number by number.
    """

    pack: Pack | None = None
    """Writes it as a bundle. Set by what loads it: the card tells of environments, which a policy does not know."""

    def __init__(
        self,
        net: nn.Module,
        normaliser: Normaliser,
        sampler: Sampler,
        horizons: Horizons,
        schema: ObservationSchema,
        encoder: ObservationEncoder | None = None,
        actions: ActionRepresentation | None = None,
        nfe: int = 1,
        initial_noise: str = "gaussian",
        delay: DelayLaw | None = None,
    ) -> None:
        super().__init__()
        if schema.state_size != normaliser.observation.size:
            raise InputError(
                f"The observations {schema.shapes} have {schema.state_size} numbers together, but the normaliser's "
                f"statistics are of {normaliser.observation.size}."
            )
        self.net, self.normaliser, self.sampler, self.horizons = net, normaliser, sampler, horizons
        self.schema = schema
        self.encoder = ObservationEncoder(schema, horizons.observation) if encoder is None else encoder
        self.actions: ActionRepresentation = Plain() if actions is None else actions
        self.nfe, self.initial_noise = nfe, check_initial_noise(initial_noise)
        self.delay: DelayLaw = NoPrefix() if delay is None else delay
        self.reset()

    @property
    def action_size(self) -> int:
        return self.normaliser.action.size

    @cached_property
    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        limits = self.normaliser.limits
        return limits.low.cpu().numpy(), limits.high.cpu().numpy()

    @property
    def longest_prefix(self) -> int | None:
        return self.delay.longest if self.delay.told else None

    @cached_property
    def training_range(self) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        scale = self.normaliser.observation
        ends = np.cumsum([self.schema.shapes[key][0] for key in self.schema.numbers])[:-1]
        parts = (np.split(bound.cpu().numpy(), ends) for bound in (scale.low, scale.high))
        return dict(zip(self.schema.numbers, zip(*parts, strict=True), strict=True))

    @property
    def usual_nfe(self) -> tuple[int, ...]:
        return self.sampler.usual_nfe

    def check_nfe(self, nfe: int) -> int:
        return self.sampler.check_nfe(nfe)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.normaliser.limits.low.device

    def prepare(self, batch: Mapping[str, Any], rng: Generator) -> tuple[Tensor, Cond]:
        """A batch of action chunks -> normalised actions [B, T, Da] and the conditioning.

        `rng` crops pictures and draws how many actions are given; given ones are part of the conditioning, and 0 in
        what is returned.
        """
        chunk, cond = self.normaliser.action(batch["action"]), self.condition(batch["obs"], rng)
        if not self.delay.told:
            return chunk, cond
        known = self._known(self.delay.sample(len(chunk), rng)).to(chunk)
        return chunk * (1 - known), cond | {PREFIX: chunk * known, KNOWN: known}

    def condition(self, obs: Mapping[str, Tensor], rng: Generator | None = None) -> Cond:
        """Observations key -> [B, To, ...] in the data's units -> {"obs": [B, C]}."""
        state = self._state(obs)
        return {"obs": self.encoder(state, {key: obs[key] for key in self.schema.pictures}, rng)}

    def _state(self, obs: Mapping[str, Tensor]) -> Tensor:
        """The numbers of observations, normalised and joined, [B, To, Do]."""
        return self.normaliser.observation(_joined(self.schema, obs))

    @torch.no_grad()
    def plan(
        self,
        obs: Mapping[str, Tensor],
        noise: Tensor,
        nfe: int,
        sampler: Sampler | None = None,
        prefix: tuple[Tensor, Tensor] | None = None,
        candidates: int = 1,
    ) -> Tensor:
        """The actions from the newest observation on, [B, T - To + 1, robot's Da] in the robot's units.

        obs: key -> [B, To, ...]; noise: [B, T, Da] standard normal, or zeros for the most likely start; nfe: network
        calls, at least 1 (`InputError`); sampler: in the place of the policy's own. prefix: given actions [B, most,
        robot's Da] and how many of them count [B], for a policy that was trained with a delay; a row begins with its
        own. A row depends on its own observation, noise and prefix. It is NaN where a number of its observation is NaN
        or beyond `FARTHEST`. candidates: K rows of noise for each observation and prefix, one after the other.
        """
        cond, sampler = self.condition(obs), sampler or self.sampler
        if candidates > 1:  # encoded once
            cond = {key: value.repeat_interleave(candidates, dim=0) for key, value in cond.items()}
            if prefix is not None:
                actions, length = prefix
                prefix = actions.repeat_interleave(candidates, dim=0), length.repeat_interleave(candidates, dim=0)
        if self.delay.told:
            actions = self._continued(noise, nfe, sampler, cond, prefix)
        else:
            actions = self.robot_actions(sampler(self.net, noise, nfe, cond)[:, self.horizons.ahead])
        if not self.schema.state_size:
            return actions
        near = (self._state(obs).abs() <= FARTHEST).flatten(1).all(dim=1)  # not so for NaN
        near = near.repeat_interleave(candidates) if candidates > 1 else near
        return torch.where(near[:, None, None], actions, torch.nan)

    def _continued(
        self, noise: Tensor, nfe: int, sampler: Sampler, cond: Cond, prefix: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """The actions of `plan` for a policy that is told its prefix, which they begin with."""
        given, known = self._given(noise, prefix)
        normalised = self.normaliser.action(self.actions.encode(given)) * known
        chunk = sampler(self.net, noise * (1 - known), nfe, cond | {PREFIX: normalised, KNOWN: known})
        actions = self.robot_actions(chunk[:, self.horizons.ahead])
        return torch.where(known[:, self.horizons.ahead] > 0, given[:, self.horizons.ahead], actions)

    def _given(self, noise: Tensor, prefix: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """The given actions in their places, [B, T, robot's Da], 0 elsewhere, and their mask [B, T, 1]."""
        before, size = self.horizons.observation - 1, self.robot_action_size
        if prefix is None:
            return noise.new_zeros(len(noise), noise.shape[1], size), noise.new_zeros(len(noise), noise.shape[1], 1)
        actions, length = prefix
        after = self.horizons.prediction - before - actions.shape[1]
        known = self._known(length).to(noise)
        return nn.functional.pad(actions, (0, 0, before, after)) * known, known

    def _known(self, length: Tensor) -> Tensor:
        """[B] numbers of given actions -> [B, T, 1] where they are: from the newest observation on."""
        step = torch.arange(self.horizons.prediction, device=length.device) - (self.horizons.observation - 1)
        return ((step >= 0) & (step < length[:, None])).unsqueeze(-1)

    def robot_actions(self, chunk: Tensor) -> Tensor:
        """[..., the network's Da] normalised -> [..., robot's Da] in the robot's units, in the training data's range.

        What the network says beyond that range, no demonstration ever asked of the robot.
        """
        within = torch.where(chunk.isfinite(), chunk.clamp(-1, 1), torch.nan)  # an overflow has not reached a limit
        actions = self.actions.decode(self.normaliser.action.inverse(within))
        return self.actions.keep(actions, self.normaliser.limits.low, self.normaliser.limits.high)

    def save(self, path: str | Path, *, nfe: int | None = None, licence: str | None = None) -> Path:
        """Writes the policy as a bundle, one folder that `isd_policy.load` opens anywhere, and returns its path.

        nfe: network calls of an action unless the caller asks for others (None: the policy's own). licence: of the
        training data. Raises `InputError` when there is something at `path`, and for a policy that was not loaded from
        a run or checkpoint.
        """
        if self.pack is None:
            raise InputError("This policy was not loaded from a run or checkpoint: there is nothing to pack.")
        self.pack(self, Path(path), self.nfe if nfe is None else nfe, licence)
        return Path(path)

    def predict(self, inputs: Inputs, nfe: int | None = None) -> np.ndarray:
        obs = {key: self._tensor(value) for key, value in inputs.obs.items()}
        prefix = None
        if inputs.prefix is not None:
            prefix = self._tensor(inputs.prefix.actions), self._tensor(inputs.prefix.length)
        nfe, noise = self.nfe if nfe is None else nfe, self._tensor(inputs.noise)
        return self.plan(obs, noise, nfe, prefix=prefix, candidates=inputs.candidates).cpu().numpy()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def _joined(schema: ObservationSchema, obs: Mapping[str, Tensor]) -> Tensor:
    """The vectors, key -> [B, To, d], as one [B, To, Do]; Do is 0 where there are only pictures."""
    if schema.numbers:
        return torch.cat([obs[key] for key in schema.numbers], dim=-1)
    picture = obs[schema.pictures[0]]
    return torch.zeros(*picture.shape[:2], 0, device=picture.device)
