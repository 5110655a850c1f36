"""Scripted experts: the role `expert`, whose members have the names of their tasks."""

from isd_core.support.registry import ROLES
from isd_envs.demonstrations.experts import adroit, metaworld, one_arm, tool_hang
from isd_envs.demonstrations.experts.base import Expert, check_expert, make_expert

DECLARING = (one_arm, tool_hang, adroit, metaworld)
"""The modules whose import registers the experts."""

__all__ = ["DECLARING", "ROLES", "Expert", "check_expert", "make_expert"]
