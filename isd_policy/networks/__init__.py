"""Networks over action chunks, and the one that sees pictures."""

from isd_policy.networks.dit1d import DiT1D
from isd_policy.networks.unet1d import UNet1D

__all__ = ["DiT1D", "UNet1D"]
