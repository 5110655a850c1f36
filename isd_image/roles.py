"""The roles of images beside the core's: `isd_image.register` knows them all."""

from isd_core.roles import ROLES, build, register
from isd_image import codecs, data
from isd_image.metrics import extractors

DECLARING = (codecs, data, extractors)

__all__ = ["DECLARING", "ROLES", "build", "register"]
