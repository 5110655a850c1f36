"""What LeRobot does around an iSD policy: names, a batch axis and the device."""

from __future__ import annotations

from typing import Any, TypeAlias

from lerobot.lerobot_types import PolicyAction
from lerobot.processor import PolicyProcessorPipeline, make_default_pre_post_processors

from .configuration_isd import ISDConfig

Before: TypeAlias = PolicyProcessorPipeline[dict[str, Any], dict[str, Any]]
After: TypeAlias = PolicyProcessorPipeline[PolicyAction, PolicyAction]


def make_isd_pre_post_processors(config: ISDConfig, dataset_stats: Any = None) -> tuple[Before, After]:
    """LeRobot's usual steps. The statistics are not among them: the policy scales by itself."""
    before, after = make_default_pre_post_processors(config)
    return before, after
