"""An iSD policy as LeRobot trains, saves and asks it."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Generator, Tensor

from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.history import ObservationHistory
from isd_core.support.registry import build
from isd_core.training.checkpoint import check_finite_tensors
from isd_core.training.config import PRECISIONS
from isd_core.training.ema import EMA
from isd_core.training.loss_module import LossModule
from isd_core.training.run import objective_of
from isd_policy.backend import Inputs, check_finite
from isd_policy.build import KIND, build_policy
from isd_policy.data.lerobot.features import ACTION
from isd_policy.deploy.pretrained import features, fresh
from isd_policy.policy import Normaliser, Policy

from .configuration_isd import ISDConfig


class ISDPolicy(PreTrainedPolicy):
    """The policy that is trained, `model`, and its average, `averaged`, which gives the actions.

    Without a config that builds it (`config.resolved`), a new one for the data set of dataset_stats and dataset_meta.
    Raises `InputError` for what cannot be built or trained.
    """

    config_class = ISDConfig
    name = "isd"
    updates: Tensor

    def __init__(
        self, config: ISDConfig, dataset_stats: Mapping[str, Any] | None = None, dataset_meta: Any = None
    ) -> None:
        super().__init__(config)
        config.validate_features()
        fitted = _complete(config, dataset_stats, dataset_meta) if config.resolved is None else None
        assert config.resolved is not None
        self.model = build_policy(
            config.resolved, fresh.blank_normaliser(config.resolved) if fitted is None else fitted
        )
        self.averaged: Policy = copy.deepcopy(self.model).requires_grad_(False)
        self.averaged.use(config.nfe, config.initial_noise, config.candidates, config.choose)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.reset()

    @classmethod
    def _load_as_safetensor(cls, model: ISDPolicy, model_file: str, map_location: str, strict: bool) -> ISDPolicy:
        """All weights, or none: a policy with some of them would move a robot at random."""
        super()._load_as_safetensor(model, model_file, map_location, True)
        check_finite_tensors(model.state_dict(), model_file)
        return model

    # -- training -----------------------------------------------------------------------------------------------------

    @cached_property
    def loss(self) -> LossModule:
        """From a batch to its loss. It is no part of the module: what it adds to the model is not trained or saved."""
        config = self.config.training
        objective = objective_of(config, self.model.net, KIND)
        loss = LossModule(self.model, objective, PRECISIONS[config["trainer"]["precision"]])
        if loss.weighting is not None or loss.average is not None:
            what = "weighting" if loss.weighting is not None else "velocity of an average"
            raise InputError(
                f"The objective has a {what} of its own to train, which LeRobot's checkpoints would not hold. Train by "
                "isd_policy.train and convert the policy (isd_policy.deploy.pretrained), or choose another objective."
            )
        loss.frozen.to(self.updates.device)
        return loss

    def get_optim_params(self) -> list[dict[str, Any]]:
        """Weight decay acts on tensors of two or more axes alone."""
        _ = self.loss  # refuses what cannot be trained before the first batch is read
        wanted = [p for p in self.model.parameters() if p.requires_grad]
        return [
            {"params": [p for p in wanted if p.ndim >= 2]},
            {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
        ]

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch of windows, and its terms."""
        steps, rows = self.config.n_obs_steps, len(batch[ACTION])
        obs = features.observations(batch, self.config.inputs, self.model.schema, steps)
        actions = batch[ACTION].float().reshape(rows, self.config.horizon, -1)
        self.loss.objective.check_rows(rows)
        with self.loss.precision():
            chunk = {"obs": obs, "action": self.model.actions.encode(actions)}
            out = self.loss(chunk, self._generator(), int(self.updates))
        return out.loss, {name: float(value.mean()) for name, value in out.terms.items()}

    def _generator(self) -> Generator:
        """In training it follows torch's own random numbers, which LeRobot seeds and saves; else it is always one."""
        device = self.updates.device
        if not self.training:
            return seeds.torch_rng(0, "evaluation", device=device)
        return Generator(device).manual_seed(int(torch.randint(2**62, ())))

    def update(self) -> None:
        """After an optimiser step: the average follows."""
        average = EMA(self.model, build("average", self.config.training["trainer"]["ema"]))
        average.state, average.updates = self.averaged.state_dict(), int(self.updates)
        average.update(self.model)
        self.updates += 1

    # -- actions ------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forgets the observations and the actions that are left."""
        self._history: ObservationHistory[dict[str, Tensor]] = ObservationHistory(self.config.n_obs_steps)
        self._queue: deque[Tensor] = deque()
        self._left: Tensor | None = None

    def predict_action_chunk(self, batch: dict[str, Any], noise: Tensor | None = None) -> Tensor:
        """One more observation, [B, ...] each, -> all actions from it on, [B, horizon - n_obs_steps + 1, Da].

        noise: [B candidates, horizon, the network's Da] standard normal; None draws it from torch's own random numbers.
        Raises `FloatingPointError` where the actions are not finite.
        """
        self._observe(batch)
        return self._chunk(noise)

    def select_action(self, batch: dict[str, Any], noise: Tensor | None = None) -> Tensor:
        """One more observation -> the next action, [B, Da]; every n_action_steps of them are a new chunk's."""
        self._observe(batch)
        if not self._queue:
            chunk = self._chunk(noise)
            executed = self.config.n_action_steps
            self._queue.extend(chunk[:, :executed].unbind(1))
            self._left = chunk[:, executed:]
        return self._queue.popleft()

    def _observe(self, batch: Mapping[str, Any]) -> None:
        self._history.push(features.observations(batch, self.config.inputs, self.averaged.schema))

    @torch.no_grad()
    def _chunk(self, noise: Tensor | None) -> Tensor:
        rows = self._history.rows()
        obs = {key: torch.stack([row[key] for row in rows], dim=1).cpu().numpy() for key in rows[0]}  # [B, To, ...]
        count = len(next(iter(obs.values())))
        if noise is None:
            shape = (count * self.averaged.candidates, self.config.horizon, self.averaged.action_size)
            zeros = self.averaged.initial_noise == "zeros"
            noise = torch.zeros(shape) if zeros else torch.randn(shape)
        left = [None] * count if self._left is None else list(self._left.cpu().numpy())
        inputs = Inputs(obs, noise.cpu().numpy(), self.averaged.prefix([None] * count), left)
        return torch.from_numpy(check_finite(self.averaged.infer(inputs))).to(self.updates.device)


def _complete(config: ISDConfig, statistics: Mapping[str, Any] | None, meta: Any) -> Normaliser:
    """Writes into the config what the data set decides; returns the scales. The first weights follow LeRobot's seed."""
    if statistics is None or meta is None:
        raise InputError("A new policy is made for a data set. To evaluate, give a trained one: --policy.path=...")
    config.inputs = features.inputs_of_features(config.input_features)
    config.origin = fresh.origin_of(config.settings)
    shapes = {name: feature.shape for name, feature in config.input_features.items()}
    config.resolved, normaliser = fresh.complete(
        config.training,
        config.inputs,
        shapes,
        statistics,
        data=str(meta.root),
        seed=int(torch.randint(2**31, ())),
        rate=float(meta.fps),
        names={name: about.get("names") for name, about in meta.features.items()},
    )
    return normaliser
