"""The roles of policies beside the core's: `isd_policy.register` knows them all."""

from isd_core.roles import ROLES, build, register
from isd_policy import actions, delays, encoder
from isd_policy.data import reader

DECLARING = (actions, delays, encoder, reader)

__all__ = ["DECLARING", "ROLES", "build", "register"]
