"""The networks F(x; t, s, cond) for images and latents."""

import isd_core.network  # noqa: F401 (the role that these register in)
from isd_image.networks.dit import DiT
from isd_image.networks.tit import InContext, TiT
from isd_image.networks.unet import UNet

__all__ = ["DiT", "InContext", "TiT", "UNet"]
