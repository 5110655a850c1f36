"""Autoencoders between images and the latents that the network is trained on."""

from isd_image.codecs.base import Codec, Identity
from isd_image.codecs.hub import KL, Tiny
from isd_image.codecs.taesd import TAESD
from isd_image.codecs.vavae import VAVAE

__all__ = ["KL", "TAESD", "VAVAE", "Codec", "Identity", "Tiny"]
