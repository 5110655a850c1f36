"""The roles of policies beside the core's: `isd_policy.register` knows them all."""

from isd_core.roles import ROLES, build, register
from isd_policy import actions, encoder

DECLARING = (actions, encoder)

__all__ = ["DECLARING", "ROLES", "build", "register"]
