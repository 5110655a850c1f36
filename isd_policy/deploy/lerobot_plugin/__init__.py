"""iSD policies in LeRobot, `--policy.type=isd`: the distribution `lerobot_policy_isd`, found by its name."""

from .configuration_isd import ISDConfig as ISDConfig

__all__ = ["ISDConfig"]
