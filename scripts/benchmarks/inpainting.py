"""The baseline of a prefix given in training: the given actions put between the jumps of a flow map, at action time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from isd_core.flow_map import FlowMap, expand
from isd_core.network import Cond, VelocityNet
from isd_core.paths import Path
from isd_core.sampling import FlowMapSampler, Sampler, check_nfe
from isd_core.support.errors import InputError
from isd_policy.backend import Call, Inputs, Row
from isd_policy.policy import Policy


@dataclass(frozen=True)
class Inpainting(Sampler):
    """`nfe` jumps of the flow map between which the known part of the chunk lies on its path from its own noise.

    known: [B, k, Da] normalised actions of the steps from `first` on. With one jump nothing can follow them: everything
    is decided before they are put in.
    """

    path: Path
    known: Tensor
    first: int

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        flow_map, part = FlowMap(self.path), slice(self.first, self.first + self.known.shape[1])
        x, ones = self.path.prior(z), torch.ones(len(z), device=z.device)
        for now, then in pairwise(self.path.times(check_nfe(nfe)).tolist()):
            t, s = now * ones, then * ones
            x = flow_map.jump(x, net(x, t, s, cond), t, s)
            at = self.path.coefficients(expand(s, x))
            x[:, part] = at.alpha * self.known + at.sigma * z[:, part]
        return x


class Inpainted:
    """A flow-map policy that was trained without a prefix, whose chunks begin with the given one all the same.

    nfe: at least 2 for the rest of the chunk to follow the prefix. For one call at a time, as a control loop makes
    them. Raises `InputError` for a policy that does not sample by jumps of a flow map: there is nothing between to put
    the prefix into.
    """

    def __init__(self, policy: Policy, nfe: int = 2) -> None:
        if not isinstance(policy.sampler, FlowMapSampler):
            raise InputError(
                f"Inpainting needs a policy that samples by jumps of a flow map; this one's sampler is "
                f"{type(policy.sampler).__name__}. Use a policy of objective=isd or another flow map, without guidance "
                "at sampling."
            )
        self.policy, self.nfe = policy, check_nfe(nfe)
        self.path, self.horizons = policy.sampler.path, policy.horizons

    @property
    def longest_prefix(self) -> int:
        """All actions from the newest observation on."""
        return self.horizons.prediction - self.horizons.observation + 1

    def row(self, obs: Mapping[str, np.ndarray]) -> Row:
        """A checked copy of one observation (see `PolicyBackend.row`)."""
        return self.policy.row(obs)

    def preprocess(self, calls: Sequence[Call]) -> tuple[Inputs, np.ndarray | None]:
        """The arrays of one call, and its prefix."""
        (call,) = calls
        return self.policy.preprocess([call._replace(prefix=None)]), call.prefix

    def infer(self, inputs: tuple[Inputs, np.ndarray | None]) -> np.ndarray:
        """All predicted actions from the newest observation on, [1, T - To + 1, robot's Da], the prefix first."""
        policy, (arrays, prefix) = self.policy, inputs
        obs = {key: torch.from_numpy(value).to(policy.device) for key, value in arrays.obs.items()}
        noise = torch.from_numpy(arrays.noise).to(policy.device)
        sampler: Sampler | None = None
        if prefix is not None:
            actions = torch.from_numpy(np.asarray(prefix, np.float32)[: self.longest_prefix]).to(policy.device)
            known = policy.normaliser.action(policy.actions.encode(actions))
            sampler = Inpainting(self.path, known.expand(len(noise), -1, -1), self.horizons.observation - 1)
        return policy.plan(obs, noise, self.nfe, sampler).cpu().numpy()
