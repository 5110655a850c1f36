"""The config of an iSD policy in LeRobot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import FeatureType, NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, LRSchedulerConfig
from lerobot.optim.schedulers import ConstantWithWarmupSchedulerConfig, CosineAnnealingWithWarmupSchedulerConfig

from isd_core.support.errors import InputError
from isd_policy.deploy.pretrained.fresh import config_of
from isd_policy.horizons import Horizons


@PreTrainedConfig.register_subclass("isd")
@dataclass
class ISDConfig(PreTrainedConfig):
    """`--policy.*` of type isd.

    n_obs_steps, horizon, n_action_steps: observations that are seen, actions that are predicted (the first belongs to
    the oldest observation) and executed. settings: words of `python -m isd_policy.train`, as "network=unet1d_small".
    nfe: network evaluations of a chunk; initial_noise, candidates, choose: as in a bundle.

    What training fills in: inputs, LeRobot's feature -> the policy's keys; resolved, the whole config that builds the
    policy; origin, what it was made with.
    """

    n_obs_steps: int = 2
    horizon: int = 16
    n_action_steps: int = 8
    settings: list[str] = field(default_factory=list)
    nfe: int = 1
    initial_noise: str = "gaussian"
    candidates: int = 1
    choose: str = "medoid"
    inputs: dict[str, list[str]] = field(default_factory=dict)
    resolved: dict[str, Any] | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        horizons = Horizons(self.n_obs_steps, self.horizon, self.n_action_steps)
        if self.resolved is None:
            return
        fixed = self.resolved["horizons"]
        if (horizons.observation, horizons.prediction) != (fixed["observation"], fixed["prediction"]):
            raise InputError(
                f"policy.n_obs_steps={self.n_obs_steps}, policy.horizon={self.horizon}: the policy was trained with "
                f"{fixed['observation']} and {fixed['prediction']}. Of a trained one policy.n_action_steps may change."
            )
        if self.settings != self.origin.get("settings"):
            raise InputError(
                f"policy.settings={self.settings}: it was trained with {self.origin.get('settings')}, which stay."
            )
        self.resolved["horizons"]["execution"] = horizons.execution

    @property
    def training(self) -> dict[str, Any]:
        """The resolved config of the training. Raises `InputError` for a policy whose bundle does not tell it."""
        if self.resolved is None:
            return config_of(self.settings, Horizons(self.n_obs_steps, self.horizon, self.n_action_steps))
        if not {"objective", "trainer"} <= self.resolved.keys():
            raise InputError(
                "This policy came from a bundle, which does not say how it was trained: to train it further, convert "
                "its checkpoint."
            )
        return self.resolved

    @property
    def normalization_mapping(self) -> dict[str, NormalizationMode]:
        """LeRobot scales nothing: the policy's own scales are a part of it."""
        return {kind.value: NormalizationMode.IDENTITY for kind in FeatureType}

    @property
    def observation_delta_indices(self) -> list[int]:
        return list(range(1 - self.n_obs_steps, 1))

    @property
    def action_delta_indices(self) -> list[int]:
        return list(range(1 - self.n_obs_steps, 1 - self.n_obs_steps + self.horizon))

    @property
    def reward_delta_indices(self) -> None:
        return None

    @property
    def drop_n_last_frames(self) -> int:
        """The frames of an episode's end at which no window begins: after them no whole execution is left."""
        return self.horizon - self.n_action_steps - self.n_obs_steps + 1

    def get_optimizer_preset(self) -> AdamWConfig:
        trainer = self.training["trainer"]
        optimizer = trainer["optimizer"]
        if optimizer["type"] != "adamw":
            raise InputError(f"trainer.optimizer.type={optimizer['type']}: LeRobot's training takes adamw.")
        return AdamWConfig(
            lr=optimizer["lr"],
            betas=(optimizer["betas"][0], optimizer["betas"][1]),
            eps=optimizer["eps"],
            weight_decay=optimizer["weight_decay"],
            grad_clip_norm=trainer["clip_norm"] or 0.0,
        )

    def get_scheduler_preset(self) -> LRSchedulerConfig:
        trainer = self.training["trainer"]
        if trainer["schedule"] == "cosine":
            return CosineAnnealingWithWarmupSchedulerConfig(num_warmup_steps=trainer["warmup"])
        return ConstantWithWarmupSchedulerConfig(num_warmup_steps=trainer["warmup"])

    def validate_features(self) -> None:
        if not self.input_features or self.action_feature is None:
            raise InputError("The policy needs the feature `action` and at least one observation.")
